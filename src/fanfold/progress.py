"""What a person sees of a run at work: a live line on a terminal, plain lines elsewhere. stdout is never touched.

Showing never fails a run: a stream that has gone away is no longer written to. `rich` is imported on a terminal only.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, TextIO

from fanfold.model import lifecycle
from fanfold.model.clock import monotonic_ms
from fanfold.model.run import ChildCounts

if TYPE_CHECKING:
    from rich.live import Live
    from rich.table import Table

DRAW_EVERY_MS = 100
LIVE_AFTER_MS = 300  # what is over sooner draws nothing, so that nothing flickers
PLAIN_AFTER_MS = 1_000
PLAIN_EVERY_MS = 10_000


class Progress:
    """Tells how far a run is."""

    def __init__(self, name: str, stream: TextIO | None = None, clock: Callable[[], int] = monotonic_ms) -> None:
        """`clock` returns milliseconds."""
        self._name = name
        self._stream = stream or sys.stderr
        self._clock = clock
        self._started = clock()
        self._live: Live | None = None
        self._is_terminal = _is_terminal(self._stream)
        self._is_closed = False
        self._counts = ChildCounts()
        self._first: tuple[int, int] | None = None  # when it was first looked at, and what was done by then
        self._drawn = self._started
        self._told = self._started
        self._told_counts = ChildCounts()
        self._tenths = 0

    def note(self, text: str) -> None:
        """Say something once."""
        self._write(f"{self._name}: {text}")

    def update(self, counts: ChildCounts) -> None:
        """Take note of how the children stand now; called about ten times a second."""
        if self._is_closed:
            return
        now = self._clock()
        if self._first is None:
            self._first = (now, done(counts))
        self._counts = counts
        if self._is_terminal:
            self._update_live(now)
        else:
            self._update_plain(now)

    def close(self) -> None:
        """Leave the terminal as it was, with one line that stays if the run was not a short one."""
        if self._is_closed:
            return
        self._is_closed = True
        live, self._live = self._live, None
        if live is not None:
            try:
                live.stop()
            except (OSError, ValueError):
                self._is_terminal = False
        is_long = self._clock() - self._started >= PLAIN_AFTER_MS
        if is_long and self._counts.spawned and self._counts != self._told_counts:
            self._write(self.summary())

    def summary(self) -> str:
        """Return how far the run is, in one plain line."""
        counts, parts = self._counts, [f"running for {_duration(self._clock() - self._started)}"]
        if counts.spawned:
            parts = [f"{done(counts):,} of {counts.spawned:,} done ({done(counts) * 100 // counts.spawned} %)"]
            parts += [
                f"{number:,} {word}"
                for number, word in (
                    (counts.running, lifecycle.RUNNING),
                    (counts.failed, lifecycle.FAILED),
                    (counts.cancelled, lifecycle.CANCELLED),
                )
                if number
            ]
            parts += self._speed()
        return f"{self._name}: {', '.join(parts)}"

    def _speed(self) -> list[str]:
        """Return the rate and what is left of the time, as far as they can be told."""
        if self._first is None:
            return []
        elapsed_ms = self._clock() - self._first[0]
        since = done(self._counts) - self._first[1]
        if since <= 0 or elapsed_ms < DRAW_EVERY_MS:
            return []
        rate = since * 1000 / elapsed_ms
        told = [f"{rate:,.0f}/s" if rate >= 10 else f"{rate:.1f}/s"]
        if self._counts.open:
            told.append(f"{_duration(round(self._counts.open * 1000 / rate))} left")
        return told

    # Plain lines ---------------------------------------------------------------------------------------------------

    def _update_plain(self, now: int) -> None:
        if now - self._started < PLAIN_AFTER_MS:
            return
        counts = self._counts
        tenths = done(counts) * 10 // counts.spawned if counts.spawned else 0
        if tenths <= self._tenths and now - self._told < PLAIN_EVERY_MS:
            return
        self._tenths = max(tenths, self._tenths)
        self._told, self._told_counts = now, counts
        self._write(self.summary())

    def _write(self, line: str) -> None:
        try:
            if self._live is not None:
                self._live.console.print(line, markup=False, highlight=False, soft_wrap=True)
            else:
                print(line, file=self._stream, flush=True)
        except (OSError, ValueError):
            self._is_terminal = False

    # The live line -------------------------------------------------------------------------------------------------

    def _update_live(self, now: int) -> None:
        if now - self._started < LIVE_AFTER_MS or now - self._drawn < DRAW_EVERY_MS:
            return
        self._drawn = now
        try:
            if self._live is None:
                self._live = _open_live(self._stream, self._draw)
            self._live.refresh()
        except (OSError, ValueError):
            self._is_terminal = False

    def _draw(self) -> Table:
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        counts = self._counts
        line = Table.grid(padding=(0, 2, 0, 0))
        cells: list[Text | ProgressBar] = [Text(self._name, "bold")]
        if counts.spawned:
            cells += [
                ProgressBar(total=counts.spawned, completed=done(counts), width=24),
                Text(f"{done(counts):,}/{counts.spawned:,}"),
                Text(f"{counts.running:,} running", "cyan"),
            ]
            cells += [Text(f"{counts.failed:,} failed", "red")] if counts.failed else []
            cells += [Text(part, "dim") for part in self._speed()]
        else:
            cells += [Text(lifecycle.RUNNING, "cyan"), Text(_duration(self._clock() - self._started), "dim")]
        for _ in cells:
            line.add_column(no_wrap=True)
        line.add_row(*cells)
        return line


def done(counts: ChildCounts) -> int:
    """Return how many children have ended, well or not."""
    return counts.completed + counts.failed + counts.cancelled


def _is_terminal(stream: TextIO | None) -> bool:
    try:
        return stream is not None and stream.isatty() and os.environ.get("TERM", "") not in ("", "dumb", "unknown")
    except ValueError:
        return False  # closed


def _open_live(stream: TextIO, draw: Callable[[], Table]) -> Live:
    from rich.console import Console
    from rich.live import Live

    class _Console(Console):
        def show_cursor(self, show: bool = True) -> bool:  # noqa: ARG002, FBT001, FBT002 - as rich has it
            """Leave the cursor alone: a process that is killed could not bring it back."""
            return False

    # What bodies print to the same terminal goes above the line; a stdout that is no terminal is data.
    live = Live(
        console=_Console(file=stream),
        auto_refresh=False,
        transient=True,
        redirect_stdout=sys.stdout.isatty(),
        redirect_stderr=stream is sys.stderr,
        get_renderable=draw,
    )
    live.start()
    return live


def _duration(ms: int) -> str:
    seconds = round(ms / 1000)
    if seconds < 60:
        return f"{seconds} s"
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
