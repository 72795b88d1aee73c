"""The tests; folders mirror the floors."""
