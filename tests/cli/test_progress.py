"""What is said of a run: by a clock that the test moves, and once on a real terminal."""

import contextlib
import io
import os
import pty
import re
import select
import subprocess
import termios
import time

import pytest

from fanfold.model.run import ChildCounts
from fanfold.progress import Progress
from tests.cli.conftest import FANFOLD, LIMIT_S

DRAWN = re.compile(r"[━╸╺ ]{20,}(\d+)/60")
STYLE = re.compile(r"\x1b\[[0-9;]*m")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Told:
    """A progress over `spawned` children, at a time that the test sets."""

    def __init__(self, stream: io.StringIO, spawned: int = 100) -> None:
        self.stream, self.spawned, self.now = stream, spawned, 0
        self.progress = Progress("total", stream, lambda: self.now)

    def at(self, ms: int, done: int, **counts: int) -> "Told":
        self.now = ms
        failed = counts.get("failed", 0)
        self.progress.update(
            ChildCounts(self.spawned, self.spawned - done, counts.get("running", 0), done - failed, failed)
        )
        return self

    def lines(self) -> list[str]:
        return self.stream.getvalue().splitlines()


@pytest.fixture
def told() -> Told:
    return Told(io.StringIO())


@pytest.fixture
def drawn(monkeypatch) -> Told:
    monkeypatch.setenv("TERM", "xterm")
    return Told(Terminal())


def test_a_short_run_says_nothing(told):
    for ms in range(0, 1000, 100):
        told.at(ms, ms // 10)
    told.progress.close()
    assert told.lines() == []


def test_there_is_one_line_for_each_tenth(told):
    for step in range(1001):
        told.at(1000 + step * 50, step // 10)
    assert len(told.lines()) == 10
    assert told.lines()[-1].startswith("total: 100 of 100 done (100 %), 2.")


def test_there_is_one_line_in_ten_seconds_when_nothing_moves(told):
    for ms in range(0, 60_001, 100):
        told.at(ms, 0, running=7)
    assert told.lines() == ["total: 0 of 100 done (0 %), 7 running"] * 6


def test_a_line_says_what_failed_how_fast_and_how_long(told):
    told.at(0, 20).at(4000, 60, failed=3, running=8)
    assert told.lines() == ["total: 60 of 100 done (60 %), 8 running, 3 failed, 10/s, 4 s left"]


def test_a_run_without_children_says_for_how_long_it_runs():
    told = Told(io.StringIO(), spawned=0)
    for ms in range(0, 70_001, 1000):
        told.at(ms, 0)
    assert told.lines()[0] == "total: running for 10 s"
    assert told.lines()[-1] == "total: running for 1:10"


def test_the_end_is_told_once(told):
    told.at(1000, 100).at(1100, 100)
    told.progress.close()
    told.progress.close()
    assert len(told.lines()) == 1


def test_a_live_line_is_drawn_at_most_ten_times_a_second(drawn):
    for ms in range(300, 1300, 5):
        drawn.at(ms, ms // 20, running=4)
    assert 5 <= drawn.stream.getvalue().count("4 running") <= 10


def test_a_live_line_leaves_one_plain_line_and_never_hides_the_cursor(drawn):
    drawn.at(400, 20).at(1500, 100)
    drawn.progress.note("a note [with brackets]")
    drawn.progress.close()
    text = drawn.stream.getvalue()
    assert "\x1b[?25l" not in text
    assert "a note [with brackets]" in text
    rest = text[text.rindex("━") :]
    assert "\x1b[2K" in rest
    assert rest.rstrip().endswith("total: 100 of 100 done (100 %), 73/s")


@pytest.mark.parametrize("variable", ["dumb", ""])
def test_a_dumb_terminal_gets_plain_lines(monkeypatch, variable):
    monkeypatch.setenv("TERM", variable)
    told = Told(Terminal()).at(2000, 50)
    assert told.lines() == ["total: 50 of 100 done (50 %)"]


def test_no_color_is_heard(monkeypatch, drawn):
    monkeypatch.setenv("NO_COLOR", "1")
    drawn.at(400, 20)
    assert "━" in drawn.stream.getvalue()
    assert not re.search(r"\x1b\[[0-9;]*3[0-9][0-9;]*m", drawn.stream.getvalue())


def test_a_stream_that_is_gone_fails_nothing(told, drawn):
    told.stream.close()
    told.at(2000, 50)
    told.progress.note("x")
    told.progress.close()
    drawn.at(400, 10)
    drawn.stream.close()
    drawn.at(2000, 50)
    drawn.progress.note("x")
    drawn.progress.close()


def read_all(terminal: int, process: subprocess.Popen) -> str:
    """Read what comes to a terminal until the process has ended."""
    text, give_up_at = b"", time.monotonic() + LIMIT_S
    while time.monotonic() < give_up_at:
        is_over = process.poll() is not None
        while select.select([terminal], [], [], 0.02)[0]:
            with contextlib.suppress(OSError):
                piece = os.read(terminal, 4096)
                text += piece
                continue
            break
        if is_over:
            return text.decode()
    raise AssertionError(text)


def test_on_a_terminal_the_line_lives_and_the_terminal_is_left_clean(fanfold):
    master, slave = pty.openpty()
    before = termios.tcgetattr(slave)
    process = subprocess.Popen(
        [FANFOLD, "run", "app.py:total", "--input", "[60]"],
        stdin=slave, stdout=subprocess.PIPE, stderr=slave, env=os.environ | {"TERM": "xterm"},
    )  # fmt: skip
    fanfold.started.append(process)
    talk = read_all(master, process)
    assert process.communicate(timeout=LIMIT_S)[0] == f"{sum(range(60))}\n".encode()
    assert termios.tcgetattr(slave) == before
    os.close(master)
    os.close(slave)
    seen = [int(number) for number in DRAWN.findall(STYLE.sub("", talk))]
    assert seen == sorted(seen)
    assert seen
    assert "\x1b[?25l" not in talk
    assert "━" not in talk[talk.rindex("\x1b[2K") :]
