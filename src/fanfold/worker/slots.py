"""Slots: how many bodies run at once in this process; and the queue of those that wait for one."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

from fanfold.worker.body import Body


class Wakes(Protocol):
    """An executor, as far as slots need it."""

    def wake(self) -> None:
        """Look at the queue: a slot became free."""
        ...


class Slots:
    """The places of this process, over all executors.

    A body that waits for its children gives its place back. It takes one again before it goes on, ahead of bodies that
    have not started: otherwise a hundred thousand that wake together would all run at once, or none ever.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.taken = 0
        self.executors: list[Wakes] = []
        self._going_on: deque[Callable[[], None]] = deque()

    def is_free(self) -> bool:
        """Tell whether one more body may start."""
        return self.taken < self.most and not self._going_on

    def take_again(self, then: Callable[[], None]) -> None:
        """Take a place for a body that goes on, and call `then` as soon as there is one."""
        if self.taken < self.most:
            self.taken += 1
            then()
        else:
            self._going_on.append(then)

    def give(self) -> None:
        """Give a place back, to whoever goes on first."""
        self.taken -= 1
        self.serve()

    def serve(self) -> None:
        """Hand out what is free."""
        while self._going_on and self.taken < self.most:
            self.taken += 1
            self._going_on.popleft()()
        if self.taken < self.most:
            for executor in self.executors:
                executor.wake()


class BodyQueue:
    """Bodies that were claimed and wait for a slot: highest priority first, then in order."""

    def __init__(self) -> None:
        self._levels: dict[int, deque[Body]] = {}
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def push(self, body: Body) -> None:
        """Put a body at the end of its priority."""
        level = self._levels.get(body.run.priority)
        if level is None:
            level = self._levels[body.run.priority] = deque()
        level.append(body)
        self._size += 1

    def pop(self) -> Body:
        """Take the next body."""
        levels = self._levels
        priority = next(iter(levels)) if len(levels) == 1 else max(levels)
        level = levels[priority]
        body = level.popleft()
        if not level:
            del levels[priority]
        self._size -= 1
        return body
