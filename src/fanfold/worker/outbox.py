"""What a workflow's code asked for in one turn."""

from __future__ import annotations

from fanfold.model.run import NewRun


class Outbox:
    """What a workflow's code asked for in this turn, on its way to the engine."""

    def __init__(self) -> None:
        self.new: list[NewRun] = []
        self.members: list[NewRun] = []  # of groups
        self.drops: list[int] = []
        self.cancels: list[int] = []
        self._timers: set[int] = set()
        self._unwritten: set[int] = set()

    def add_timer(self, timer: NewRun) -> None:
        """Add a timer; one that is dropped before the outbox is taken is not written at all."""
        self.new.append(timer)
        self._timers.add(timer.id)

    def drop(self, timer_id: int) -> None:
        """Drop a timer."""
        if timer_id in self._timers:
            self._unwritten.add(timer_id)
        else:
            self.drops.append(timer_id)

    def seal(self) -> None:
        """Leave out what was armed and dropped; its places are used up."""
        if self._unwritten:
            self.new = [new for new in self.new if new.id not in self._unwritten]
