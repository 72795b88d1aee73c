"""SQLite, through apsw: one file, or a database in memory. The only module that imports apsw.

apsw brings one known SQLite everywhere; system libraries before 3.51.3 have the WAL-reset bug.
"""

from __future__ import annotations

import contextlib
import os
from typing import Final, Protocol, cast

import apsw

from fanfold.errors import FanfoldError, StoreUnavailable
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
_BROKEN = (apsw.CorruptError, apsw.NotADBError)
NOT_A_DATABASE = "the file is not a database; give fanfold a file of its own: App(store=), FANFOLD_STORE, --store"
_FOREIGN = "it looks like a database of something else; give fanfold a file of its own: App(store=), FANFOLD_STORE"
_ADVICE: Final[tuple[tuple[type[Exception], str], ...]] = (
    (apsw.FullError, "make room on that disk"),
    (apsw.ReadOnlyError, "let this user write the file, those beside it (-wal, -shm) and their folder: chmod u+w"),
    (apsw.CantOpenError, "let this user read and write the file, those beside it (-wal, -shm) and their folder"),
    (apsw.BusyError, "another program has locked it; end what that one does with it"),
    (apsw.IOError, "look at the disk: is it full, is it still there, does it fail"),
    (apsw.CorruptError, "the file is damaged: keep a copy, then restore a backup, or try `sqlite3 FILE .recover`"),
    (apsw.SQLError, _FOREIGN),
)
_WRITER_WAITS_MS = 1000  # for a lock: then the engine says so, and tries again; longer would hold up a stop
_READER_WAITS_MS = 5000


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
        self._name = "in memory" if path.startswith("file:") or path == ":memory:" else path
        self._read_only = read_only
        self._is_writing = False
        self._is_closed = False
        self._pid = os.getpid()
        self._connection = self._open()

    def _open(self) -> _Connection:
        flags = apsw.SQLITE_OPEN_URI | apsw.SQLITE_OPEN_NOMUTEX
        flags |= apsw.SQLITE_OPEN_READONLY if self._read_only else apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE
        try:
            connection = cast("_Connection", apsw.Connection(self._path, flags=flags))
            connection.set_busy_timeout(_READER_WAITS_MS)
            if not self._read_only:
                for pragma in _PRAGMAS:
                    # Consumed at once: apsw runs what follows the first row only when asked for it.
                    connection.execute(f"PRAGMA {pragma}").fetchall()
            connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()
        except apsw.Error as error:
            raise StoreUnavailable(f"cannot open the store {self._name}: {_explained(error)}") from None
        if not self._read_only:
            connection.set_busy_timeout(_WRITER_WAITS_MS)
        return connection

    async def begin(self) -> None:
        """Open a transaction that may write."""
        if self._is_closed:
            raise self._closed()
        await self.rollback()  # of a transaction whose commit failed, where no new connection could be opened
        try:
            self._connection.execute("BEGIN IMMEDIATE")
        except _BUSY as error:
            raise StoreBusy(_explained(error)) from None
        except apsw.Error as error:
            raise self._unavailable("write", error) from None
        self._is_writing = True

    async def commit(self) -> None:
        """Write the transaction to the disk."""
        try:
            self._connection.execute("COMMIT")
        except apsw.Error as error:
            # Whether the last page reached the disk is not known here; the batch number says so after a reopen.
            raise CommitUnknown(_explained(error)) from None
        finally:
            self._is_writing = False

    async def rollback(self) -> None:
        """Undo the transaction, unless SQLite already has."""
        self._is_writing = False
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
        except apsw.Error as error:
            raise self._refused(error) from None
        return self._connection.changes()

    async def fetch(self, statement: str, parameters: Parameters) -> str | int | None:
        """Return the only value of the first row. Outside a transaction it is a person who asks: StoreUnavailable."""
        try:
            row = self._connection.execute(statement, parameters).fetchone()
        except apsw.Error as error:
            raise (self._refused(error) if self._is_writing else self._unavailable("read", error)) from None
        value = row[0] if row else None
        if value is not None and not isinstance(value, str | int):
            raise TypeError(f"a statement returned {value!r}")
        return value

    def _refused(self, error: apsw.Error) -> FanfoldError:
        """Return what came of a statement of a transaction: busy, refused, or that the file itself is broken."""
        if isinstance(error, _BUSY):
            return StoreBusy(_explained(error))
        return self._unavailable("use", error) if isinstance(error, _BROKEN) else BatchRejected(str(error))

    def _unavailable(self, verb: str, error: apsw.Error) -> StoreUnavailable:
        if self._is_closed:
            return self._closed()
        return StoreUnavailable(f"cannot {verb} the store {self._name}: {_explained(error)}")

    def _closed(self) -> StoreUnavailable:
        return StoreUnavailable(
            f"the store {self._name} is closed with the app that had it open. Open it again, `async with app`, "
            "and use app.get(id)"
        )

    def script(self, text: str) -> None:
        """Run a migration: several statements, within the open transaction."""
        try:
            self._connection.execute(text).fetchall()
        except apsw.Error as error:
            raise self._refused(error) from None

    async def reopen(self) -> None:
        """Close the connection and open a new one."""
        old, self._connection = self._connection, self._open()
        self._is_writing = False
        # Only now: the last connection to a store in memory takes the store along.
        with contextlib.suppress(apsw.Error):
            old.close(True)

    def close(self) -> None:
        """Write the log back into the file, shorten it, and close."""
        if self._pid != os.getpid():
            return  # a fork: closing here would drop the locks of the process that owns the store
        self._is_closed = True
        with contextlib.suppress(apsw.Error):
            if not self._read_only:
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        self._connection.close(True)


def _explained(error: apsw.Error) -> str:
    """Return SQLite's own words, and what can be done about it."""
    if isinstance(error, apsw.NotADBError):
        return NOT_A_DATABASE
    advice = next((advice for kind, advice in _ADVICE if isinstance(error, kind)), None)
    return f"{error} ({advice})" if advice else str(error)


_PRAGMAS: Final = (
    "journal_mode = WAL",
    "synchronous = FULL",
    "fullfsync = 1",
    "checkpoint_fullfsync = 1",
    # Small, so that the log is soon written over instead of grown: a lone commit takes two thirds of the time.
    "wal_autocheckpoint = 1000",
    "journal_size_limit = 67108864",
    "cache_size = -16384",
    "mmap_size = 0",
    # Otherwise numbering a single delivery opens a file: measured 95 us against 20.
    "temp_store = MEMORY",
    "trusted_schema = OFF",
)
