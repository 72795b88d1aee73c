"""One process of the pool, as the engine's process sees it: its pipe, and what it was sent."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from typing import Any, cast

from fanfold.worker.body import Body
from fanfold.worker.executors.pipe import (
    READ_BYTES,
    SENT_TO_ALL,
    Message,
    Report,
    Setup,
    TakeBack,
    frame,
    report_of,
    take_frames,
)
from fanfold.worker.reference import search_path

AHEAD_S = 0.005  # how much work a process is sent ahead
MOST_AHEAD = 100
WAIT_S = 1.0  # how long to wait for a process that was killed


class PoolProcess:
    """One process of the pool: its pipe, and the bodies that it was sent, in order. The first runs, or will next."""

    def __init__(
        self, setup: Setup, on_reports: Callable[[PoolProcess, list[Report]], None],
        on_end: Callable[[PoolProcess], None],
    ) -> None:  # fmt: skip
        self.sent: dict[int, Body] = {}
        self.is_busy = False  # and holds a slot
        self.running = 0  # the number of the last body that has begun
        self.is_taking_back = False
        self.seen = 0  # what was first in `sent` when somebody last looked
        self._pace_s = math.inf  # how long a body takes
        self._since = 0.0
        self._loop = asyncio.get_running_loop()
        self._on_reports = on_reports
        self._on_end = on_end
        self._incoming = bytearray()
        self._outgoing = bytearray()
        self._popen, self._socket = _spawn()
        self._loop.add_reader(self._socket, self._read)
        self.send([setup])

    @property
    def pid(self) -> int:
        """The process id."""
        return self._popen.pid

    @property
    def first(self) -> int:
        """The number of the body that runs or is about to; 0 if there is none."""
        return next(iter(self.sent), 0)

    @property
    def room(self) -> int:
        """How many bodies to send it now; refilled by halves, so that not each one costs a message."""
        if self.is_taking_back:
            return 0
        most = 1 + min(int(AHEAD_S / max(self._pace_s, 1e-6)), MOST_AHEAD)
        return most - len(self.sent) if len(self.sent) <= most // 2 else 0

    def send(self, messages: list[Message]) -> None:
        """Send messages, as far as the pipe takes them now, the rest later."""
        if not self.sent:
            self._since = self._loop.time()
        is_writing = bool(self._outgoing)
        self._outgoing += frame(messages)
        if not is_writing:
            self._write()

    def take_back(self) -> None:
        """Ask for what was not begun."""
        if not self.is_taking_back:
            self.is_taking_back = True
            self._pace_s = math.inf
            self.send([TakeBack()])

    def _write(self) -> None:
        try:
            while self._outgoing:
                del self._outgoing[: self._socket.send(self._outgoing)]
        except BlockingIOError:
            self._loop.add_writer(self._socket, self._write)
            return
        except OSError:
            self._outgoing.clear()  # it has died; what is read next says so
        self._loop.remove_writer(self._socket)

    def _read(self) -> None:
        try:
            data = self._socket.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.hang_up()
            self._on_end(self)
            return
        self._incoming += data
        reports = [report_of(raw) for raw in take_frames(self._incoming)]
        if ended := sum(1 for report in reports if report.ended):
            now = self._loop.time()
            self._pace_s, self._since = (now - self._since) / ended, now
        if reports:
            self._on_reports(self, reports)

    def hang_up(self) -> None:
        """Close the pipe: nothing more is heard of it, and a process that still lives ends."""
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket)
            self._loop.remove_writer(self._socket)
            self._socket.close()

    def kill(self) -> None:
        """End it at once."""
        self.hang_up()
        self._popen.kill()

    def poll(self) -> int | None:
        """Return how it has ended, as subprocess does; None if it lives."""
        return self._popen.poll()

    def wait(self) -> None:
        """Wait for one that was killed, but not for ever: what hangs in the kernel stays there."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._popen.wait(WAIT_S)


def _spawn() -> tuple[subprocess.Popen[bytes], socket.socket]:
    """Start a process; return it and this end of its pipe. OSError if the system refuses."""
    # Not from a thread: Linux would kill the process when that thread ends.
    program = (
        f"import sys; sys.path[:] = {search_path()!r}; "
        f"from fanfold.worker.executors.process_main import main; main({os.getpid()})"
    )
    # The interpreter's own options, as multiprocessing passes them on.
    flags = cast("Any", subprocess)._args_from_interpreter_flags()  # noqa: SLF001 - there is no public one
    ours, theirs = socket.socketpair()
    # Blocked until it can ignore them: a Ctrl-C in the first milliseconds would end it.
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, SENT_TO_ALL)
    try:
        popen = subprocess.Popen([sys.executable, *flags, "-c", program], stdin=theirs.fileno())  # noqa: S603 - this very Python
    except BaseException:
        ours.close()
        raise
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        theirs.close()
    ours.setblocking(False)
    return popen, ours
