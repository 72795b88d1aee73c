"""What the calls of a task's body ask of the worker: ids, children, slots, time. On the loop, unless it says else."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from typing import Any

from fanfold.engine.committer import Committer
from fanfold.engine.engine import Engine
from fanfold.model.clock import Alarm
from fanfold.model.commands import Progressed
from fanfold.model.run import Claimed, End, NewRun
from fanfold.worker.body import Body
from fanfold.worker.claims import Intake
from fanfold.worker.executors.executors import Executors
from fanfold.worker.feeds import Feeds
from fanfold.worker.reading import read_for
from fanfold.worker.task import Task


class Desk:
    """The desk of one worker."""

    def __init__(self, engine: Engine, intake: Intake, tasks: Mapping[str, Task[..., Any]], feeds: Feeds) -> None:
        self._engine = engine
        self._intake = intake
        self.tasks = tasks
        self.feeds = feeds
        self.clock = engine.clock
        self.loop = asyncio.get_running_loop()
        self.executors: Executors

    def take_id(self) -> int:
        """Return a fresh run id; from any thread."""
        return self._engine.ids.take()

    @property
    def commits(self) -> Committer:
        """Where commands go."""
        return self._engine.commits

    def is_elsewhere(self) -> bool:
        """Tell whether this is called in the thread of a body."""
        return asyncio._get_running_loop() is not self.loop  # noqa: SLF001 - the public one raises where there is none

    def post(self, callback: Callable[..., None], *args: Any) -> None:
        """Call back on the engine's loop; from any thread."""
        if self.is_elsewhere():
            self.loop.call_soon_threadsafe(callback, *args)
        else:
            callback(*args)

    def spawn(self, new: NewRun) -> None:
        """Insert a child."""
        self._intake.admit(new, is_wanted=True)
        self._engine.commits.spawn((new,))
        self._intake.request()

    def got_on(self, body: Body) -> None:
        """Forget the deaths of earlier processes: only those without progress count."""
        run = body.run
        if isinstance(run, Claimed) and run.crashes:
            run.crashes = 0
            self._engine.commits.progress(Progressed(run.id, body.epoch))

    def want(self, id: int, available_at: int) -> None:
        """Claim a child that is pending, as soon as it may start."""
        self._intake.want(id, available_at)

    def cancel_child(self, id: int) -> None:
        """Ask a child to cancel."""
        self._engine.commits.cancel([id])

    def read(self, id: int, then: Callable[[End], None]) -> None:
        """Read how a child ended."""

        async def read() -> None:
            engine = self._engine
            _, state, output, error = await read_for(engine.clock, id, lambda: engine.queries.outcome(id))
            then(End(id, 0, 0, state, output, error))

        self.loop.create_task(read())

    def let_go(self, body: Body) -> None:
        """Take the slot of a body that waits for its children."""
        body.is_waiting = True
        self._intake.tasks.in_hand -= 1
        if body.limit is not None:
            body.limit.pause()
        self.executors.of(body).let_go(body)
        self._intake.on_waiting(body.run.id)
        self._intake.request()

    def go_on(self, body: Body, then: Callable[[], None]) -> None:
        """Call `then` as soon as the body has a slot again."""

        def take() -> None:
            if body.is_over:
                self.executors.slots.give()
                return
            body.is_waiting = False
            body.has_slot = True
            self._intake.tasks.in_hand += 1
            if body.limit is not None:
                body.limit.go()
            then()

        self.executors.of(body).go_on(body, take)

    def alarm(self, delay_s: float, ring: Callable[[], None]) -> Alarm:
        """Ring after a while."""
        return self._engine.clock.call_after(round(delay_s * 1000), ring)

    def opens(self, body: Body, group_id: int) -> None:
        """Take note that a body has a group, for whose members it may wait."""
        self.executors.in_threads.opens(body, group_id)

    def resting(self) -> None:
        """Take note, in the thread of a body, that it is about to wait."""
        self.executors.in_threads.resting()

    def wake_thread(self, event: threading.Event) -> None:
        """Let the thread of a body go on."""
        self.executors.in_threads.wake_thread(event)
