"""What a process of the pool does: takes calls from its pipe, runs their bodies one by one, reports.

The main thread runs the bodies. Another one listens, so that calls can be taken back while a body runs, the pipe never
fills up, and the process ends at once when the engine's does, whatever a body is doing. Only texts come and go; no
store is opened here.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import faulthandler
import io
import os
import select
import signal
import socket
import sys
import threading
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn

from fanfold.worker.context import Context, set_current
from fanfold.worker.executors.pipe import (
    READ_BYTES,
    SENT_TO_ALL,
    Call,
    Leave,
    Message,
    Report,
    Setup,
    TakeBack,
    frame,
    messages_of,
    take_frames,
)
from fanfold.worker.executors.process_body import Function, Lifespan, ProcessContext, failure_of, function_of
from fanfold.worker.reference import Reference, enter_process

WATCH_MS = 500  # how often to look for the parent, should the pipe not say that it has died
PR_SET_PDEATHSIG = 1
_PID = os.getpid()


class Inbox:
    """What has come and was not begun, between the thread that listens and the one that works."""

    def __init__(self) -> None:
        self._messages: deque[Message] = deque()
        self._changed = threading.Condition()
        self.on_arrival: Callable[[], object] | None = None  # set while an asyncio loop waits instead of a thread

    def put(self, message: Message) -> None:
        """Add a message."""
        with self._changed:
            self._messages.append(message)
            self._changed.notify()
            on_arrival = self.on_arrival
        if on_arrival is not None:
            on_arrival()

    def is_empty(self) -> bool:
        """Tell whether nothing has come."""
        return not self._messages

    def take(self) -> Message:
        """Wait for the next message."""
        with self._changed:
            while not self._messages:
                self._changed.wait()
            return self._messages.popleft()

    def take_now(self) -> Message | None:
        """Return the next message if there is one."""
        with self._changed:
            return self._messages.popleft() if self._messages else None

    def take_back(self) -> list[int]:
        """Remove the calls; return their numbers."""
        with self._changed:
            calls = [message.number for message in self._messages if isinstance(message, Call)]
            self._messages = deque(message for message in self._messages if not isinstance(message, Call))
            return calls


class Link:
    """This process's end of the pipe."""

    def __init__(self, connection: socket.socket, inbox: Inbox, parent_pid: int) -> None:
        self._connection = connection
        self._inbox = inbox
        self._parent_pid = parent_pid
        self._sending = threading.Lock()

    def send(self, report: Report) -> None:
        """Send a report; end the process if nobody hears it."""
        data = frame(report)
        try:
            with self._sending:
                self._connection.sendall(data)
        except OSError:
            os._exit(0)

    def listen(self) -> NoReturn:
        """Take in what comes, for as long as the engine's process lives; then end this one, in the middle of a body."""
        try:
            self._listen()
        except BaseException as error:  # noqa: BLE001 - deaf, this process would only be in the way
            sys.excepthook(type(error), error, error.__traceback__)
        os._exit(0)

    def _listen(self) -> None:
        poll = select.poll()
        poll.register(self._connection, select.POLLIN)
        buffer = bytearray()
        while True:
            # A fork of the engine's process may hold the other end open beyond its death.
            if not poll.poll(WATCH_MS):
                if os.getppid() != self._parent_pid:
                    return
                continue
            data = self._connection.recv(READ_BYTES)
            if not data:
                return
            buffer += data
            for raw in take_frames(buffer):
                for message in messages_of(raw):
                    if isinstance(message, TakeBack):
                        self.send(Report(returned=self._inbox.take_back()))
                    else:
                        self._inbox.put(message)


class Bodies:
    """Runs what comes, one after the other, in the main thread."""

    def __init__(self, setup: Setup, inbox: Inbox, link: Link) -> None:
        self._setup = setup
        self._inbox = inbox
        self._link = link
        self._functions: dict[Reference, Function] = {}
        self._runner = asyncio.Runner()  # makes its loop at the first use
        self._lifespan = None if setup.lifespan is None else Lifespan(self._runner, setup.lifespan)

    def serve(self) -> None:
        """Run bodies until told to leave."""
        report = Report()
        while not isinstance(message := self._inbox.take_now() if report.ended else self._wait(), Leave):
            if not isinstance(message, Call):
                self._link.send(report)
                report = Report()
                continue
            if not self._is_prepared(message):
                if report.ended:
                    self._link.send(report)  # to import may take long, and may end this process
                report = self._prepare(message)
                if report.ended:
                    continue
            # One report says what has ended and what has begun: from here on, what kills this process is this body.
            report.began = message.number
            self._link.send(report)
            report = self._run(message)
        if report.ended:
            self._link.send(report)
        if self._lifespan is not None:
            self._lifespan.leave()
        self._runner.close()

    def _wait(self) -> Message | None:
        """Wait for a message; with a lifespan on its loop, so that what it has started goes on."""
        if self._lifespan is None or not self._lifespan.is_entered:
            return self._inbox.take()
        self._runner.run(self._arrival())
        return self._inbox.take_now()

    async def _arrival(self) -> None:
        arrived = asyncio.Event()
        loop = asyncio.get_running_loop()
        self._inbox.on_arrival = lambda: loop.call_soon_threadsafe(arrived.set)
        try:
            if self._inbox.is_empty():
                await arrived.wait()
        finally:
            self._inbox.on_arrival = None

    def _is_prepared(self, call: Call) -> bool:
        return call.task in self._functions and (self._lifespan is None or self._lifespan.is_entered)

    def _prepare(self, call: Call) -> Report:
        """Import what a body needs and enter the lifespan; return the end of the body if that fails."""
        try:
            if self._lifespan is not None and not self._lifespan.is_entered:
                self._lifespan.enter()
            self._functions[call.task] = function_of(call.task, self._setup.max_payload)
        except Exception as error:  # noqa: BLE001 - recorded as the attempt's failure
            return Report(call.number, failure=failure_of(error, 1 if call.claimed is None else call.claimed.attempt))
        return Report()

    def _run(self, call: Call) -> Report:
        run = call.new or call.claimed
        assert run is not None  # noqa: S101 - every call has one of them
        state = None if self._lifespan is None else self._lifespan.state
        context = ProcessContext(run, call.idempotency_key, state, self._say)
        report = Report(call.number)
        found = self._functions[call.task]
        try:
            value = contextvars.Context().run(self._call, found, context, run.input or "{}")
            report.output, _ = found.signature.result.encode(value)
        except BaseException as error:  # noqa: BLE001 - recorded as the attempt's failure
            report.failure = failure_of(error, context.attempt)
        _flush()
        return report

    def _say(self, progress: dict[str, Any]) -> None:
        self._link.send(Report(progress=progress))

    def _call(self, found: Function, context: Context, text: str) -> Any:
        set_current(context)
        args, kwargs = found.signature.decode(text)
        if not found.is_async:
            return found.function(*args, **kwargs)
        value, error = self._runner.run(_outcome(found.function(*args, **kwargs)), context=contextvars.copy_context())
        if error is not None:
            raise error
        return value


async def _outcome(body: Coroutine[Any, Any, Any]) -> tuple[Any, BaseException | None]:
    # asyncio lets SystemExit through to the loop, which would stop in the middle of its turn.
    try:
        return await body, None
    except BaseException as error:  # noqa: BLE001 - handed on
        return None, error


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):  # closed by the body, or nobody reads it any more
            stream.flush()


def main(parent_pid: int) -> None:
    """Be a process of the pool of `parent_pid`, whose pipe is this process's standard input, until told to leave."""
    # The terminal sends Ctrl-C to everybody; what becomes of the bodies is for the engine to say. It came here blocked.
    # A supervisor does the same with SIGTERM: with a handler, since programs that a body starts would inherit SIG_IGN.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave_to_the_engine)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SENT_TO_ALL)
    _die_with_parent()
    if os.getppid() != parent_pid:
        return  # it died before this process could ask to be told
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(line_buffering=True)  # a body that is killed leaves what it has printed
    with contextlib.suppress(Exception):  # stderr may be closed
        faulthandler.enable()  # a crash in C code shows where
    connection = _take_stdin()
    inbox = Inbox()
    link = Link(connection, inbox, parent_pid)
    threading.Thread(target=link.listen, name="fanfold-listener", daemon=True).start()
    setup = inbox.take()
    assert isinstance(setup, Setup)  # noqa: S101 - it is the first message
    sys.argv[:] = setup.argv
    enter_process()
    Bodies(setup, inbox, link).serve()


def _leave_to_the_engine(number: int, _frame: object) -> None:
    """Do nothing about a signal that the engine's process has had as well; a fork that a body has made ends by it."""
    if os.getpid() != _PID:
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)


def _die_with_parent() -> None:
    """Have Linux kill this process when its parent dies: C code that keeps the interpreter locked would outlive it."""
    if sys.platform == "linux":
        with contextlib.suppress(ImportError, OSError, AttributeError):
            import ctypes

            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _take_stdin() -> socket.socket:
    """Return the pipe; bodies find an empty standard input in its place, and their own forks do not keep it open."""
    connection = socket.socket(fileno=os.dup(0))
    empty = os.open(os.devnull, os.O_RDONLY)
    os.dup2(empty, 0)
    os.close(empty)
    os.register_at_fork(after_in_child=connection.close)
    return connection
