"""Starts programs that die at a chosen commit, or at a chosen moment, and reaps them."""

import contextlib
import json
import os
import random
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 25.0  # far more than any of these programs needs, and less than a test has


@dataclass(frozen=True)
class Kill:
    """The commit, from 1, at which a process kills itself, and whether before or after it; or the store is broken."""

    commit: int
    when: str


NEVER = Kill(0, "before")


@dataclass(frozen=True)
class Ending:
    """How a process ended: killed, or by itself with the number of its commits; and what it wrote."""

    pid: int
    was_killed: bool
    output: str
    commits: int
    errors: str = ""

    @property
    def result(self) -> Any:
        """What it printed, as JSON."""
        return json.loads(self.output)


def spread_kills(seed: int, commits: int, count: int) -> list[Kill]:
    """Draw kills that are spread evenly over a run of so many commits, every other one before its commit."""
    draw = random.Random(seed).random
    places = [1 + int((number + draw()) * commits / count) for number in range(count)]
    return [Kill(place, ("before", "after")[number % 2]) for number, place in enumerate(places)]


def start(
    target: str, kill: Kill, env: Mapping[str, str], arguments: Sequence[str] = (), **options: Any
) -> subprocess.Popen[str]:
    """Start a program that dies at `kill`."""
    # The tree's root is the working folder, so that its packages are found.
    command = [sys.executable, "-m", "tests.crash.launcher", str(kill.commit), kill.when, target, *arguments]
    pipes: dict[str, Any] = {
        "stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE
    }  # fmt: skip
    return subprocess.Popen(command, cwd=ROOT, env=os.environ | env, text=True, **(pipes | options))


def finish(child: subprocess.Popen[str], commits: Path | None = None) -> Ending:
    """Wait until a process has ended, killed or well; anything else is an error that shows what it wrote."""
    output, errors = reap(child)
    assert child.returncode in (0, -signal.SIGKILL), f"it ended with {child.returncode}: {errors}"
    counted = int(commits.read_text()) if commits is not None and commits.exists() else 0
    return Ending(child.pid, child.returncode != 0, output, counted, errors)


def reap(child: subprocess.Popen[str]) -> tuple[str, str]:
    """Wait until a process has ended, and return what it wrote; one that hangs is aborted, so that it shows where."""
    try:
        return child.communicate(timeout=PATIENCE_S)
    except subprocess.TimeoutExpired:
        child.send_signal(signal.SIGABRT)
        return child.communicate(timeout=PATIENCE_S)
    finally:
        child.kill()
        child.wait()


def run(target: str, kill: Kill, env: Mapping[str, str], folder: Path, arguments: Sequence[str] = ()) -> Ending:
    """Run a program until it dies at `kill`, or ends."""
    commits = folder / "commits"
    commits.unlink(missing_ok=True)
    return finish(start(target, kill, {**env, "CRASH_COMMITS": str(commits)}, arguments), commits)


def wait_for_line(child: subprocess.Popen[str], limit_s: float = PATIENCE_S) -> str:
    """Return the first line that a process prints; an error when none comes in time."""
    assert child.stdout is not None
    ready, _, _ = select.select([child.stdout], [], [], limit_s)
    if not ready:
        child.kill()
    line = child.stdout.readline()
    assert line, f"it printed nothing: {finish(child)}"
    return line.rstrip("\n")


def kill_later(child: subprocess.Popen[str], log: Path, lines: int, delay_s: float) -> Ending:
    """Kill a process a moment after it has added so many lines to a log, if it has not ended by then."""
    there = count_lines(log)
    give_up_at = time.monotonic() + PATIENCE_S
    try:
        while count_lines(log) < there + lines and child.poll() is None:
            assert time.monotonic() < give_up_at, f"{lines} lines were not written in time"
            wait_for_end(child, 0.001)
        wait_for_end(child, delay_s)
    finally:
        child.kill()
        ending = finish(child)
    return ending


def count_lines(log: Path) -> int:
    """Count the lines of a log that may not be there yet."""
    return log.read_bytes().count(b"\n") if log.exists() else 0


def wait_for_end(child: subprocess.Popen[str], limit_s: float) -> None:
    """Wait a little, less if the process ends."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(limit_s)
