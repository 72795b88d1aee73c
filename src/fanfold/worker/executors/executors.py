"""Where the bodies of tasks run: on the engine's loop, in threads, in processes; one class for all of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from fanfold.model.clock import Alarm
from fanfold.store.at_work import AtWork
from fanfold.worker.body import Begin, Body, Finish
from fanfold.worker.executors.loop import LoopExecutor
from fanfold.worker.executors.processes import MAX_PAYLOAD, ProcessExecutor
from fanfold.worker.executors.serial import SerialExecutor
from fanfold.worker.executors.threads import ThreadExecutor
from fanfold.worker.reference import Reference
from fanfold.worker.slots import Slots
from fanfold.worker.task import LOOP, PROCESS, THREAD

SERIAL_THREADS = 32


@dataclass(frozen=True)
class Places:
    """How many bodies run at once: in all, in threads (0: one at a time, for tests), in processes (0: in threads)."""

    slots: int
    threads: int
    processes: int = 0
    max_payload: int = MAX_PAYLOAD
    lifespan: Reference | None = None  # entered once in each process


class Executor(Protocol):
    """One place where bodies run."""

    def __len__(self) -> int:
        """Return how many bodies wait for a slot."""
        ...

    def submit(self, body: Body) -> None:
        """Run a body as soon as there is a slot."""
        ...

    def wake(self) -> None:
        """Look at the queue."""
        ...

    def cancel(self, body: Body) -> None:
        """Ask a body to end, where it can be asked."""
        ...

    def disown(self, body: Body) -> None:
        """Let a body whose attempt is over go on without a slot, or end it."""
        ...

    def let_go(self, body: Body) -> None:
        """Take the slot of a body that waits for its children."""
        ...

    def go_on(self, body: Body, then: Callable[[], None]) -> None:
        """Call `then` as soon as the body has a slot again."""
        ...

    def stop(self) -> None:
        """Start nothing any more."""
        ...

    def abandon(self) -> None:
        """Leave what still runs to itself."""
        ...


class Executors:
    """All executors of one worker, and the slots that they share."""

    def __init__(
        self, places: Places, begin: Begin, finish: Finish, at_work: AtWork,
        alarm: Callable[[float, Callable[[], None]], Alarm],
    ) -> None:  # fmt: skip
        self.slots = Slots(places.slots)
        hooks = self.slots, begin, finish
        self.in_threads = (
            ThreadExecutor(places.threads, *hooks, at_work, alarm)
            if places.threads
            else SerialExecutor(SERIAL_THREADS, *hooks, at_work, alarm)
        )
        self._all: dict[str, Executor] = {LOOP: LoopExecutor(*hooks, at_work), THREAD: self.in_threads}
        self._in_processes: ProcessExecutor | None = None
        if places.processes:
            self._all[PROCESS] = self._in_processes = ProcessExecutor(
                places.processes, *hooks, max_payload=places.max_payload, lifespan=places.lifespan
            )
        self.slots.executors.extend(self._all.values())

    def of(self, body: Body) -> Executor:
        """Return where a body runs."""
        task = body.task
        if task.executor == PROCESS and self._in_processes is None:
            return self._all[LOOP if task.is_async else THREAD]
        return self._all[task.executor]

    @property
    def waiting(self) -> int:
        """How many bodies wait for a slot."""
        return sum(len(executor) for executor in self._all.values())

    def stop(self) -> None:
        """Start nothing any more."""
        for executor in self._all.values():
            executor.stop()

    def abandon(self) -> None:
        """Leave what still runs to itself."""
        for executor in self._all.values():
            executor.abandon()

    async def close(self) -> None:
        """End the processes: idle ones leave their lifespan."""
        if self._in_processes is not None:
            await self._in_processes.close()
