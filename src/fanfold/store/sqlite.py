"""SQLite, through apsw: one file, or a database in memory. The only module that imports apsw.

apsw brings one known SQLite everywhere; system libraries before 3.51.3 have the WAL-reset bug.
"""

from __future__ import annotations

import contextlib
import os
from typing import Final, Protocol, cast

import apsw

from fanfold.errors import StoreUnavailable
from fanfold.store.database import BatchRejected, CommitUnknown, Dialect, Parameters, StoreBusy

DIALECT: Final = Dialect(
    name="sqlite",
    # jsonb_each on the text itself: its values are not parsed again for every column (measured: half the time).
    each="jsonb_each({}) e",
    integer_column="(e.value ->> {})",
    text_column="(e.value ->> {})",
    rows="json_group_array(json_array({}))",
    lock="",
    skip_locked="",
    integer="INTEGER",
    id="INTEGER",
    text="TEXT",
)

_BUSY = (apsw.FullError, apsw.IOError, apsw.BusyError, apsw.CantOpenError, apsw.ReadOnlyError, apsw.NoMemError)


def library_version() -> str:
    """Return the version of the SQLite library in use."""
    return apsw.sqlite_lib_version()


class _Connection(Protocol):
    """`apsw.Connection`, as far as it is used; its own annotations need a type that Python has from 3.12 on."""

    @property
    def in_transaction(self) -> bool: ...
    def execute(self, statement: str, parameters: Parameters | None = None, /) -> _Cursor: ...
    def changes(self) -> int: ...
    def set_busy_timeout(self, ms: int, /) -> None: ...
    def close(self, force: bool = ..., /) -> None: ...  # noqa: FBT001 - apsw's signature


class _Cursor(Protocol):
    def fetchone(self) -> tuple[object, ...] | None: ...
    def fetchall(self) -> list[tuple[object, ...]]: ...


class SqliteDatabase:
    """One connection to a SQLite database, with full synchronisation: a commit that returned is on the disk."""

    dialect = DIALECT

    def __init__(self, path: str, *, read_only: bool = False) -> None:
        """Open `path`: a file's path, or a `file:` URI for memory."""
        self._path = path
        self._read_only = read_only
        self._pid = os.getpid()
        self._connection = self._open()

    def _open(self) -> _Connection:
        flags = apsw.SQLITE_OPEN_URI | apsw.SQLITE_OPEN_NOMUTEX
        flags |= apsw.SQLITE_OPEN_READONLY if self._read_only else apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE
        try:
            connection = cast("_Connection", apsw.Connection(self._path, flags=flags))
            connection.set_busy_timeout(5000)
            if not self._read_only:
                for pragma in _PRAGMAS:
                    # Consumed at once: apsw runs what follows the first row only when asked for it.
                    connection.execute(f"PRAGMA {pragma}").fetchall()
            connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()
        except apsw.Error as error:
            raise StoreUnavailable(f"cannot open the store {self._path}: {error}") from None
        return connection

    async def begin(self) -> None:
        """Open a transaction that may write."""
        await self.rollback()  # of a transaction whose commit failed, where no new connection could be opened
        try:
            self._connection.execute("BEGIN IMMEDIATE")
        except _BUSY as error:
            raise StoreBusy(str(error)) from None

    async def commit(self) -> None:
        """Write the transaction to the disk."""
        try:
            self._connection.execute("COMMIT")
        except apsw.Error as error:
            # Whether the last page reached the disk is not known here; the batch number says so after a reopen.
            raise CommitUnknown(str(error)) from None

    async def rollback(self) -> None:
        """Undo the transaction, unless SQLite already has."""
        if self._connection.in_transaction:
            with contextlib.suppress(apsw.Error):
                self._connection.execute("ROLLBACK")

    async def execute(self, statement: str, parameters: Parameters) -> int:
        """Run one statement of the open transaction."""
        if not self._connection.in_transaction:
            # A full disk makes SQLite roll back by itself; the rest would be committed alone, statement by statement.
            raise BatchRejected("the transaction is gone")
        try:
            self._connection.execute(statement, parameters)
        except _BUSY as error:
            raise StoreBusy(str(error)) from None
        except apsw.Error as error:
            raise BatchRejected(str(error)) from None
        return self._connection.changes()

    async def fetch(self, statement: str, parameters: Parameters) -> str | int | None:
        """Return the only value of the first row."""
        try:
            row = self._connection.execute(statement, parameters).fetchone()
        except _BUSY as error:
            raise StoreBusy(str(error)) from None
        except apsw.Error as error:
            raise BatchRejected(str(error)) from None
        value = row[0] if row else None
        if value is not None and not isinstance(value, str | int):
            raise TypeError(f"a statement returned {value!r}")
        return value

    def script(self, text: str) -> None:
        """Run a migration: several statements, within the open transaction."""
        self._connection.execute(text).fetchall()

    async def reopen(self) -> None:
        """Close the connection and open a new one."""
        old, self._connection = self._connection, self._open()
        # Only now: the last connection to a store in memory takes the store along.
        with contextlib.suppress(apsw.Error):
            old.close(True)

    def close(self) -> None:
        """Write the log back into the file, shorten it, and close."""
        if self._pid != os.getpid():
            return  # a fork: closing here would drop the locks of the process that owns the store
        with contextlib.suppress(apsw.Error):
            if not self._read_only:
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        self._connection.close(True)


_PRAGMAS: Final = (
    "journal_mode = WAL",
    "synchronous = FULL",
    "fullfsync = 1",
    "checkpoint_fullfsync = 1",
    # Small, so that the log is soon written over instead of grown: a lone commit takes two thirds of the time.
    "wal_autocheckpoint = 1000",
    "journal_size_limit = 67108864",
    "cache_size = -65536",
    "mmap_size = 0",
    # Otherwise numbering a single delivery opens a file: measured 95 us against 20.
    "temp_store = MEMORY",
    "trusted_schema = OFF",
)
