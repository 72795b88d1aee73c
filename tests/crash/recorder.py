"""Runs the fan-out and writes down what the store holds after each commit; dies before the log is written back.

`python -m tests.crash.recorder FILE` adds a line to FILE for each commit: how long the log is by then, and the digest
of all contents. What is left beside it, the store's file and its whole log, is what crash images are cut from.
"""

import os
import sys
from pathlib import Path

from fanfold.store.sqlite import SqliteDatabase
from tests.crash.fan_out import app, fan_out, size
from tests.crash.remains import digest, wal_bytes

_commit = SqliteDatabase.commit


def record(file: int) -> None:
    """Note every commit from now on, and die where a store is closed."""

    async def commit(database: SqliteDatabase) -> None:
        await _commit(database)
        # Asked of the file system, not of the file: to open and close it here would drop SQLite's locks on it.
        os.write(file, f"{wal_bytes(Path(database._path))} {digest(database._connection)}\n".encode())

    def die(_: SqliteDatabase) -> None:
        os._exit(0)

    SqliteDatabase.commit = commit
    SqliteDatabase.close = die


if __name__ == "__main__":
    record(os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644))
    app.run(fan_out, size())
