"""P7, P2: SIGKILL with half of the children done, then start again: how soon, how fast, is anything done twice?

An uninterrupted run of the same size comes first; the restart is judged against the share of it that was left.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import apsw

from benchmarks.process import last_json
from benchmarks.sample import Figures, emit
from benchmarks.stores import SUFFIXES, VARIABLE

CHILDREN = 100_000
PROGRAM = "benchmarks.workloads.counted_fan_out"
POLL_S = 0.005
TIMEOUT_S = 300
OVERHEAD_FACTOR, OVERHEAD_S = 1.3, 3.0

# One narrow row a parent, so that looking often takes nothing from the run that is watched.
DELIVERED = "SELECT coalesce(max(delivered), 0) FROM parents"

# A row with a place in its parent's order of delivery is finished and never changes.
COMPLETED = "SELECT count(*) FROM runs WHERE parent_id <> 0 AND seq IS NOT NULL"


class NothingToKill(Exception):
    """Half of the children were never seen done while the program ran; the message says how far it came."""


def command(program: str, children: int) -> list[str]:
    """Return the command line of the program that is killed: a module that counts its bodies."""
    return [sys.executable, "-m", program, "--n", str(children)]


def environment(store: Path) -> dict[str, str]:
    """Return this process's environment with the store named."""
    return {**os.environ, VARIABLE: str(store)}


def run_to_end(program: str, store: Path, children: int) -> Figures:
    """Run the program on `store` until it ends; return its figures and the seconds of the whole process."""
    started = time.perf_counter()
    done = subprocess.run(
        command(program, children),
        env=environment(store),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    return {**last_json(done.returncode, done.stdout, done.stderr), "process_s": time.perf_counter() - started}


def delivered(store: Path) -> int:
    """Return how many children the store has delivered so far, read beside the engine; 0 while there is no schema."""
    try:
        connection = apsw.Connection(str(store), flags=apsw.SQLITE_OPEN_READONLY)
        try:
            return int(connection.execute(DELIVERED).get)
        finally:
            connection.close()
    except (apsw.CantOpenError, apsw.SQLError, apsw.BusyError, apsw.ReadOnlyError):
        return 0


def kill_half_way(program: str, store: Path, children: int) -> None:
    """Start the program and kill it without warning when half of its children are delivered."""
    process = subprocess.Popen(
        command(program, children), env=environment(store), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.perf_counter() + TIMEOUT_S
    try:
        while (seen := delivered(store)) < children // 2:
            if process.poll() is not None:
                raise NothingToKill(f"the program ended (status {process.returncode}) with {seen} children seen done")
            if time.perf_counter() > deadline:
                raise NothingToKill(f"{seen} of {children} children were done after {TIMEOUT_S} s")
            time.sleep(POLL_S)
    finally:
        process.kill()
        process.wait()


def completed(store: Path) -> int:
    """Count the finished children in a copy of the store and its log, so that the recovery is left to the restart."""
    with tempfile.TemporaryDirectory(prefix="benchmark-") as directory:
        copy = Path(directory) / store.name
        for suffix in SUFFIXES:
            part = Path(f"{store}{suffix}")
            if part.exists():
                shutil.copyfile(part, f"{copy}{suffix}")
        connection = apsw.Connection(str(copy))
        try:
            return int(connection.execute(COMPLETED).get)
        finally:
            connection.close()


def work(program: str, directory: Path, children: int) -> Figures:
    """Measure one crash; return seconds, counts, and the restart as a share of what is allowed (1.3 halves + 3 s)."""
    whole = run_to_end(program, directory / "whole.db", children)
    store = directory / "killed.db"
    kill_half_way(program, store, children)
    done = completed(store)
    restart = run_to_end(program, store, children)
    other_half_s = float(whole["wall_s"] or 0) * (children - done) / children
    return {
        "children": children,
        "completed_at_kill": done,
        "bodies_after": restart["bodies"],
        "repeated": int(restart["bodies"] or 0) + done - children,
        "first_body_s": restart["first_body_s"],
        "uninterrupted_s": whole["wall_s"],
        "other_half_s": other_half_s,
        "restart_s": restart["wall_s"],
        "restart_process_s": restart["process_s"],
        "allowed_s": OVERHEAD_FACTOR * other_half_s + OVERHEAD_S,
        "bytes_per_child": restart["bytes_per_child"],
        "restart_peak_rss_mib": restart["peak_rss_mib"],
        "restart_rss_growth_mib": restart.get("rss_growth_mib"),
        "restart_rss_curve": restart.get("rss_curve"),
    }


def main() -> None:
    """Measure one crash and print one JSON line."""
    parser = argparse.ArgumentParser(description="P7 and P2: kill half-way, start again.")
    parser.add_argument("--n", type=int, default=CHILDREN, help="children to start")
    parser.add_argument("--program", default=PROGRAM, help="the module that is killed; it counts its bodies")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="benchmark-") as directory:
        emit(work(options.program, Path(directory), options.n))


if __name__ == "__main__":
    main()
