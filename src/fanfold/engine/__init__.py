"""The use cases over a store: commits in order, timers, waiters, recovery. Knows no user code and no transport."""
