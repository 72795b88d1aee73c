"""Bodies in processes: a pool of warm ones, each fed through a pipe of its own.

- A process runs one body at a time and reports each end. While bodies are short it is sent some ahead, so that it
  never waits for the next; while one takes long, those behind it are taken back.
- What is sent ahead has not begun: when a process dies, the body that it was at fails, and no other.
- A process with work holds one slot.
- Texts travel, in both directions; nothing is pickled. A process is a new interpreter: it inherits no lock, no store.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from fanfold.errors import FanfoldError
from fanfold.model.codec import decode_text
from fanfold.model.run import Claimed
from fanfold.worker.body import Begin, Body, Finish
from fanfold.worker.executors.pipe import Call, Failure, Leave, Message, Report, Setup
from fanfold.worker.executors.pool_process import PoolProcess
from fanfold.worker.reference import ProcessNotReady, Reference, reference_to, refuse_in_process
from fanfold.worker.slots import BodyQueue, Slots
from fanfold.worker.task import Task

AHEAD_BYTES = 1 << 20  # a message is closed when it has so much input in it
IMPATIENCE_S = 0.02  # a body that takes longer has those behind it taken back
REAP_S = 0.005
REAP_LIMIT_S = 1.0  # a process that has closed its pipe and lives on after this is killed
RESTART_S = 1.0  # how long to wait after a process that could not start
CLOSE_S = 2.0  # how long processes may take to leave their lifespan
MAX_PAYLOAD = 4 << 20

log = logging.getLogger("fanfold")


class ProcessDied(FanfoldError):
    """The process that a body ran in ended before the body did."""


class Output(NamedTuple):
    """A body's result as the text that is stored: it was encoded where the body ran."""

    text: str


class BodyFailed(Exception):
    """What a body raised in its process: the record of it, and what a retry policy looks at."""

    def __init__(self, failure: Failure) -> None:
        record = decode_text(failure.text)
        super().__init__(f"{record['type']}: {record['message']}")
        self.text = failure.text
        self.kinds = failure.kinds
        self.retry_after_ms = failure.retry_after_ms


class ProcessExecutor:
    """Runs bodies in at most `processes` processes, started when they are needed and kept."""

    def __init__(
        self, processes: int, slots: Slots, begin: Begin, finish: Finish, *, max_payload: int = MAX_PAYLOAD,
        lifespan: Reference | None = None,
    ) -> None:  # fmt: skip
        """`begin` hears when a body runs in its process; `finish` gets an `Output`, or why there is none."""
        refuse_in_process("an engine cannot start")
        self._processes = processes
        self._slots = slots
        self._begin = begin
        self._finish = finish
        self._setup = Setup([str(argument) for argument in sys.argv], max_payload, lifespan)
        self._loop = asyncio.get_running_loop()
        self._queue = BodyQueue()
        self._returned: deque[Body] = deque()  # was sent and came back: goes before the queue
        self._references: dict[Task[..., Any], Reference] = {}
        self._number = 0
        self._pool: list[PoolProcess] = []
        self._ending: set[PoolProcess] = set()  # no longer in the pool, and not yet reaped
        self._reaped = asyncio.Event()
        self._may_start_at = 0.0
        self._is_looking = False
        self._is_impatient = False
        self._is_stopped = False

    def __len__(self) -> int:
        """Return how many bodies wait for a process or a slot."""
        ahead = sum(len(process.sent) - 1 for process in self._pool if process.sent)
        return len(self._queue) + len(self._returned) + ahead

    @property
    def pids(self) -> list[int]:
        """The ids of the processes."""
        return [process.pid for process in self._pool]

    def submit(self, body: Body) -> None:
        """Run a body as soon as there are a process and a slot."""
        self._queue.push(body)
        self.wake()

    def wake(self) -> None:
        """Look at the queue soon: a body came, or a slot became free. What comes in one turn is sent together."""
        if not self._is_looking and not self._is_stopped:
            self._is_looking = True
            self._loop.call_soon(self._look)

    def cancel(self, body: Body) -> None:
        """Do nothing to a body that runs: it is killed when its grace ends. One that was sent ahead is not begun."""
        place = self._place(body)
        if place is not None and place[1] != place[0].first:
            place[0].take_back()

    def kill(self, body: Body) -> None:
        """Drop a body whose end is recorded, and end the process that it runs in. Nothing more is reported of it."""
        body.is_over = True
        place = self._place(body)
        if place is None:
            return
        process, number = place
        if number == process.first:
            self._discard(process)
        else:
            process.take_back()

    def disown(self, body: Body) -> None:
        """Kill a body: the name that all executors know."""
        self.kill(body)

    def let_go(self, body: Body) -> None:
        """Do nothing: a body in a process has no children to wait for."""

    def go_on(self, body: Body, then: Callable[[], None]) -> None:
        """Go on: as above, nobody gets here."""
        del body
        then()

    def stop(self) -> None:
        """Start nothing any more; what was sent ahead comes back."""
        self._is_stopped = True
        for process in self._pool:
            if process.sent:
                process.take_back()

    def abandon(self) -> None:
        """Kill all processes; what they were at is no longer recorded."""
        self._is_stopped = True
        for process in list(self._pool):
            process.is_busy = False  # whoever waits for its slot ends as well
            self._remove(process)
        for process in self._ending:
            process.kill()
        for process in self._ending:
            process.wait()
        self._ending.clear()

    async def close(self) -> None:
        """End the processes: idle ones leave their lifespan first, the rest is killed."""
        self.stop()
        leaving = [process for process in self._pool if not process.sent]
        for process in leaving:
            process.send([Leave()])
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                while any(process.poll() is None for process in leaving):
                    self._reaped.clear()
                    await self._reaped.wait()
        self.abandon()

    # Sending -------------------------------------------------------------------------------------------------------

    def _look(self) -> None:
        """Send bodies to where there is room."""
        self._is_looking = False
        while not self._is_stopped and (self._returned or self._queue):
            process = self._next_process()
            if process is None or not self._fill(process):
                break
        self._watch_for_long_ones()

    def _next_process(self) -> PoolProcess | None:
        """Return an idle process, else a new one, else a busy one that has room."""
        is_free = self._slots.is_free()
        with_room = [process for process in self._pool if process.room and (process.is_busy or is_free)]
        process = min(with_room, key=_how_many_sent, default=None)
        if not is_free or (process is not None and not process.is_busy):
            return process
        if len(self._pool) < self._processes and self._loop.time() >= self._may_start_at:
            try:
                started = PoolProcess(self._setup, self._on_reports, self._on_end)
            except OSError as error:
                self._on_no_process(error)
            else:
                self._pool.append(started)
                return started
        return process

    def _on_no_process(self, error: OSError) -> None:
        """Go on with the processes that there are; where there is none, fail one body and try again a little later."""
        self._rest()
        log.error("a process for bodies cannot be started: %s", error)
        for body in () if self._pool else self._take(1):
            self._end(body, None, ProcessNotReady(f"{body.run.name} needs a process, and none can be started: {error}"))

    def _rest(self) -> None:
        self._may_start_at = self._loop.time() + RESTART_S
        self._loop.call_later(RESTART_S, self.wake)

    def _fill(self, process: PoolProcess) -> bool:
        """Send a process what it has room for, or its part of what waits; tell whether that was anything."""
        part = math.ceil((len(self._returned) + len(self._queue)) / self._processes)
        bodies: dict[int, Body] = {}
        for body in self._take(min(process.room, part)):
            self._number += 1
            bodies[self._number] = body
        if not bodies:
            return False
        process.send([self._call(number, body) for number, body in bodies.items()])
        process.sent |= bodies
        if not process.is_busy:
            process.is_busy = True
            self._slots.taken += 1
        return True

    def _take(self, most: int) -> Iterator[Body]:
        """Take up to `most` bodies that wait, less if they are large."""
        size = 0
        while most and size < AHEAD_BYTES and (self._returned or self._queue):
            body = self._returned.popleft() if self._returned else self._queue.pop()
            if not body.is_over:
                most -= 1
                size += len(body.run.input or "")
                yield body

    def _call(self, number: int, body: Body) -> Message:
        task, run = body.task, body.run
        reference = self._references.get(task)
        if reference is None:
            reference = self._references[task] = reference_to(task.function, task.name)
        new, claimed = (None, run) if isinstance(run, Claimed) else (run, None)
        return Call(number, reference, body.context.idempotency_key, new, claimed)

    def _watch_for_long_ones(self) -> None:
        """Look a little later whether bodies wait behind one that takes long."""
        if not self._is_impatient and any(len(process.sent) > 1 for process in self._pool):
            self._is_impatient = True
            self._loop.call_later(IMPATIENCE_S, self._take_back_from_long_ones)

    def _take_back_from_long_ones(self) -> None:
        self._is_impatient = False
        for process in self._pool:
            if len(process.sent) > 1 and process.seen == process.first:
                process.take_back()
            process.seen = process.first
        self._watch_for_long_ones()

    # What processes report -----------------------------------------------------------------------------------------

    def _on_reports(self, process: PoolProcess, reports: list[Report]) -> None:
        ended: list[tuple[Body, Report]] = []
        began = 0
        for report in reports:
            if report.returned is not None:
                process.is_taking_back = False
                self._returned.extend(process.sent.pop(number) for number in report.returned)
            if report.ended:
                body = process.sent.pop(report.ended)
                body.is_started, body.has_slot = True, False
                ended.append((body, report))
            if report.began:
                process.running = began = report.began
            if report.progress is not None:
                self._on_progress(process, report.progress)
        if began in process.sent:  # it has not ended in the same breath
            self._on_begin(process, process.sent[began])
        for body, report in ended:
            if report.failure is None:
                self._end(body, Output(report.output or ""), None)
            else:
                self._end(body, None, BodyFailed(report.failure))
        if not process.sent:
            self._release(process)
        self.wake()

    def _on_begin(self, process: PoolProcess, body: Body) -> None:
        if body.is_over:  # it has ended while it was on its way to the process
            self._discard(process)
            return
        body.is_started = body.has_slot = True
        self._begin(body)

    def _on_progress(self, process: PoolProcess, progress: dict[str, Any]) -> None:
        body = process.sent.get(process.running)
        if body is not None and not body.is_over:
            body.context.report_progress(**progress)

    def _end(self, body: Body, value: Any, error: BaseException | None) -> None:
        if not body.is_over:
            self._finish(body, value, error)

    def _release(self, process: PoolProcess) -> None:
        """Give the slot of a process back."""
        if process.is_busy:
            process.is_busy = False
            self._slots.give()

    def _place(self, body: Body) -> tuple[PoolProcess, int] | None:
        """Return the process that a body was sent to, and its number there."""
        for process in self._pool:
            for number, sent in process.sent.items():
                if sent is body:
                    return process, number
        return None

    # How processes end ---------------------------------------------------------------------------------------------

    def _discard(self, process: PoolProcess) -> None:
        """Kill a process for the sake of its first body; the others go back."""
        bodies = self._remove(process)
        process.kill()
        self._returned.extendleft(reversed(bodies))
        self._reap(process, None, self._loop.time() + REAP_LIMIT_S)
        self.wake()

    def _on_end(self, process: PoolProcess) -> None:
        """Find out what became of a process that has closed its pipe; it was not asked to."""
        is_running = process.running == process.first
        bodies = self._remove(process)
        victim: Body | None = None
        # A process that never got so far as to begin a body fails with the first that it was sent, or others would
        # be started for ever; and slowly.
        if bodies and (is_running or not process.running):
            victim = bodies.pop(0)
        if not process.running:
            self._rest()
        self._returned.extendleft(reversed(bodies))
        self._reap(process, victim, self._loop.time() + REAP_LIMIT_S)
        self.wake()

    def _remove(self, process: PoolProcess) -> list[Body]:
        """Take a process out of the pool; return what it was sent."""
        bodies = list(process.sent.values())
        process.sent.clear()
        process.hang_up()
        self._pool.remove(process)
        self._ending.add(process)
        for body in bodies:
            body.has_slot = False
        self._release(process)
        return bodies

    def _reap(self, process: PoolProcess, victim: Body | None, until: float) -> None:
        """Wait for a process without blocking the loop, and report the body that died with it."""
        if process not in self._ending:
            return
        status = process.poll()
        if status is None:
            if self._loop.time() >= until:
                process.kill()
            self._loop.call_later(REAP_S, self._reap, process, victim, until)
            return
        self._ending.discard(process)
        self._reaped.set()
        if victim is not None:
            # An exit before the beginning is no crash of the body: it would be the same again.
            kind = ProcessNotReady if status >= 0 and not process.running else ProcessDied
            self._end(victim, None, kind(_epitaph(victim, process, status)))


def _how_many_sent(process: PoolProcess) -> int:
    return len(process.sent)


def _epitaph(body: Body, process: PoolProcess, status: int) -> str:
    """Say how a process has ended, and what that may mean."""
    if status < 0:
        try:
            how = signal.Signals(-status).name
        except ValueError:  # a real-time signal has no name
            how = f"signal {-status}"
        told = f"was killed by {how}: out of memory, a crash in C code, or somebody's kill"
    else:
        told = f"ended with exit status {status}: os._exit() in the body, or what stands above on stderr"
    when = "while it ran" if process.running else "before it could begin"
    return f"the process {process.pid} {told}; {when} {body.run.name} (run {body.run.id})"
