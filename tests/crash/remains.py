"""What a dead process left: its store, looked at in a copy, so that the next start finds it as it was."""

import shutil
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any

import apsw

from fanfold.model import lifecycle
from fanfold.store.sqlite import SqliteDatabase
from fanfold.worker.members import WINDOW
from tests.simulation.invariants import broken
from tests.store.invariants import violations as broken_in_store

Row = dict[str, Any]


@dataclass
class Remains:
    """The runs of a store by id, their failed attempts by run and number, and what is wrong with them."""

    runs: dict[int, Row] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)
    sequence: int = 0
    digest: str = ""
    attempts: dict[tuple[int, int], Row] = field(default_factory=dict)

    @property
    def roots(self) -> list[Row]:
        """The runs that were started from outside, oldest first."""
        return [row for row in self.runs.values() if not row["parent_id"]]

    @property
    def ended(self) -> dict[int, Row]:
        """The runs that can never change again."""
        return {id: row for id, row in self.runs.items() if lifecycle.is_terminal(row["state"])}

    @property
    def is_unfinished(self) -> bool:
        """Tell whether there is anything left to do, or nothing was started yet."""
        return len(self.ended) < len(self.runs) or not self.runs

    def completed(self, name: str) -> list[Row]:
        """Return the completed runs of one task."""
        return [row for row in self.runs.values() if row["name"] == name and row["state"] == lifecycle.COMPLETED]


def look_into(store: Path) -> Remains:
    """Read a store that nobody has open, from a copy of its files."""
    copy = store.with_name(f"{store.name}.copy")
    for suffix in ("", "-wal"):
        Path(f"{copy}{suffix}").unlink(missing_ok=True)
        if Path(f"{store}{suffix}").exists():
            shutil.copyfile(f"{store}{suffix}", f"{copy}{suffix}")
    if not copy.exists():
        return Remains()
    database = SqliteDatabase(str(copy))
    try:
        return read(database)
    finally:
        database.close()
        copy.unlink()


def read(database: SqliteDatabase) -> Remains:
    """Read everything through an open connection."""
    connection = database._connection
    if not connection.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'meta'").get:
        return Remains()
    runs = {row["id"]: row for row in rows(connection, "runs")}
    owners = {row["owner"] for row in runs.values() if row["owner"] is not None}
    # One engine at a time: whatever is held, is held by the one that died.
    violations = broken(connection, max(owners, default=0), WINDOW)
    violations += [f"invariant {name}: run {id}" for name, id in broken_in_store(connection)]
    (meta,) = rows(connection, "meta")
    if runs and max(runs) >= meta["next_id"]:
        violations.append(f"run {max(runs)} has an id that is still to be given")
    attempts = {(row["run_id"], row["attempt"]): row for row in rows(connection, "attempts")}
    return Remains(runs, violations, meta["commit_sequence"], digest(connection), attempts)


def rows(connection: apsw.Connection, table: str) -> list[Row]:
    """Return a table, with its columns' names."""
    names = [column[1] for column in connection.execute(f"PRAGMA table_info({table})")]
    return [dict(zip(names, row, strict=True)) for row in connection.execute(f"SELECT * FROM {table} ORDER BY 1")]


def digest(connection: apsw.Connection) -> str:
    """Return a hash of all that a store holds; equal only for equal contents. Empty before there is a schema."""
    if not connection.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'meta'").get:
        return ""
    hashed = blake2b(digest_size=16)
    for query in ("SELECT * FROM runs ORDER BY id", "SELECT * FROM parents ORDER BY id", "SELECT * FROM meta"):
        for row in connection.execute(query):
            hashed.update(repr(row).encode())
    return hashed.hexdigest()


def is_whole(database: SqliteDatabase) -> bool:
    """Ask SQLite whether the pages and indexes of a store are sound."""
    return database._connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def wal_bytes(store: Path) -> int:
    """Return how long the log beside a store is; 0 without one."""
    wal = Path(f"{store}-wal")
    return wal.stat().st_size if wal.exists() else 0
