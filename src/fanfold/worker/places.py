"""Where a call of a workflow stands: what identifies it, live and in replay, and what asyncio's objects hash by."""

from __future__ import annotations

_GOLDEN = 0x9E3779B97F4A7C15
_MASK = (1 << 61) - 1
# Odd, so that the low bits of what is made at one place run through all values before one comes again; one step for
# each kind of object, so that how many there are of one kind shifts none of the others.
_STEP = 0x1E3779B97F4A7C15
_TASK_STEP = 0x1B58476D1CE4E5B9
_GATHER_STEP = 0x14D049BB133111EB


def mixed(number: int) -> int:
    """Return `number` with its bits spread: runs and tasks are numbered 1, 2, 3, and their hashes must lie apart."""
    return (number ^ (number >> 29)) * _GOLDEN & _MASK


class Place:
    """Where an asyncio task stands in its workflow: its path, and how many calls and tasks it has made.

    A call is identified by its place, never by one counter for the run: tasks that interleave in another order, or
    another Python's `wait_for`, must not shift the names of each other's calls. The same holds for hashes, which
    decide how sets of tasks, futures and handles iterate.
    """

    __slots__ = ("_gathers", "_last", "_seed", "calls", "number", "path", "tasks")

    def __init__(self, path: str, number: int) -> None:
        """Take `number` for what the task itself hashes by."""
        self.path = path
        self.number = number
        self.calls = 0
        self.tasks = 0
        self._seed = self._last = mixed(number)
        self._gathers = 0

    def next_call(self) -> str:
        """Return the key of the next call made here."""
        self.calls += 1
        return f"p:{self.path}:{self.calls}"

    def next_task(self) -> Place:
        """Return the place of the next asyncio task made here."""
        self.tasks += 1
        return Place(f"{self.path}/{self.tasks}", (self._seed + self.tasks * _TASK_STEP) & _MASK)

    def next_number(self) -> int:
        """Return the hash of the next future or handle made here."""
        self._last = number = (self._last + _STEP) & _MASK
        return number

    def next_gather(self) -> int:
        """Return the hash of the next future of a `gather` that is asked for it here."""
        self._gathers += 1
        return (self._seed + self._gathers * _GATHER_STEP) & _MASK
