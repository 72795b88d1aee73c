"""Where a call of a workflow stands: what identifies it, live and in replay."""

from __future__ import annotations


class Place:
    """Where an asyncio task stands in its workflow: its path, and how many calls and tasks it has made.

    A call is identified by its place, never by one counter for the run: tasks that interleave in another order, or
    another Python's `wait_for`, must not shift the names of each other's calls.
    """

    __slots__ = ("calls", "path", "tasks")

    def __init__(self, path: str) -> None:
        self.path = path
        self.calls = 0
        self.tasks = 0

    def next_call(self) -> str:
        """Return the key of the next call made here."""
        self.calls += 1
        return f"p:{self.path}:{self.calls}"

    def next_task(self) -> Place:
        """Return the place of the next asyncio task made here."""
        self.tasks += 1
        return Place(f"{self.path}/{self.tasks}")
