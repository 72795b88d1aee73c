"""Commit C: one row made durable and awaited from asyncio, through a thread that owns the connection.

This is the shortest durable step that exists on the machine: a hop to the writer, one FULL commit, a hop back.
"""

import argparse
import asyncio
import queue
import tempfile
import threading
import time
from pathlib import Path

import apsw

from benchmarks.sample import Figures, emit, quantile

COMMITS = 2_000
WARM_UP = 100

SCHEMA = "CREATE TABLE step (id INTEGER PRIMARY KEY, output TEXT NOT NULL)"

# Autocommit: the statement is the transaction, so one fsync of the log stands for one step.
INSERT = "INSERT INTO step (output) VALUES (?)"

Job = tuple[str, asyncio.Future[None]]


class Writer:
    """A thread with the only connection; jobs come through a queue, answers go back to the loop."""

    def __init__(self, path: Path, loop: asyncio.AbstractEventLoop) -> None:
        """Start the thread on the store at `path`; futures of `loop` are resolved on `loop`."""
        self._path = path
        self._loop = loop
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write, name="commit-writer")
        self._thread.start()

    def _write(self) -> None:
        connection = apsw.Connection(str(self._path))
        connection.pragma("journal_mode", "wal")
        connection.pragma("synchronous", "full")
        connection.execute(SCHEMA)
        while (job := self._jobs.get()) is not None:
            output, done = job
            connection.execute(INSERT, (output,))
            self._loop.call_soon_threadsafe(done.set_result, None)
        connection.close()

    async def commit(self, output: str) -> None:
        """Return when the row is on disk."""
        done: asyncio.Future[None] = self._loop.create_future()
        self._jobs.put((output, done))
        await done

    def close(self) -> None:
        """Let the thread finish its queue and close the store."""
        self._jobs.put(None)
        self._thread.join()


async def measure(directory: Path, commits: int) -> Figures:
    """Await `commits` one-row commits, one after the other; return the rate per second and quantiles in ms."""
    writer = Writer(directory / "commit.db", asyncio.get_running_loop())
    for number in range(WARM_UP):
        await writer.commit(str(number))
    took_s: list[float] = []
    started = time.perf_counter()
    for number in range(commits):
        before = time.perf_counter()
        await writer.commit(str(number))
        took_s.append(time.perf_counter() - before)
    elapsed_s = time.perf_counter() - started
    writer.close()
    return {
        "commits": commits,
        "wall_s": elapsed_s,
        "per_s": commits / elapsed_s,
        "p50_ms": quantile(took_s, 0.5) * 1e3,
        "p99_ms": quantile(took_s, 0.99) * 1e3,
    }


def main() -> None:
    """Measure in a temporary directory and print one JSON line."""
    parser = argparse.ArgumentParser(description="Commit C: one durable row, awaited from asyncio.")
    parser.add_argument("--n", type=int, default=COMMITS, help="commits to await")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="benchmark-") as directory:
        emit(asyncio.run(measure(Path(directory), options.n)))


if __name__ == "__main__":
    main()
