"""Opens a store from its URL: the lock that keeps a second engine out, the schema, the connections.

On SQLite one engine process holds a file. The operating system drops the lock when that process dies, however it
dies, so the next start takes over at once and needs no timeout.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

from fanfold.errors import StoreInUse, StoreUnavailable
from fanfold.model import ids
from fanfold.store import statements
from fanfold.store.database import BatchRejected
from fanfold.store.sqlite import SqliteDatabase

SCHEMA_VERSION = 1
DEFAULT_URL = "sqlite:///fanfold.db"
_memory_count = itertools.count(1)
_NOT_OURS = "{} is a database of something else; give fanfold a file of its own"


def store_path(url: str) -> Path | None:
    """Return the file of a store's URL, None for a database in memory; StoreUnavailable for what is no such URL."""
    if url in ("sqlite://", "sqlite:///:memory:"):
        return None
    if url.startswith("sqlite:///"):
        return Path(url.removeprefix("sqlite:///"))
    raise StoreUnavailable(
        f"{url!r} is not a store: write sqlite:///relative.db, sqlite:////absolute.db, or sqlite:// for memory"
    )


class FileLock:
    """An OS lock beside the store's file, with the holder's process id in it."""

    def __init__(self, path: Path) -> None:
        """Take the lock; StoreInUse if somebody has it."""
        self._path = path
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreUnavailable(f"cannot open the store's lock {path}: {error.strerror}") from None
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            held_by = os.read(self._descriptor, 32).decode(errors="replace").strip()
            os.close(self._descriptor)
            pid = int(held_by) if held_by.isdigit() else None
            raise StoreInUse(
                f"process {held_by or '(unknown)'} has an engine on {path.with_suffix('')}; one engine a file. "
                "Stop it, or give this one another store (App(store=), FANFOLD_STORE)",
                pid,
            ) from None
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Give the lock back. The file stays: to delete it would let two processes lock two files of one name."""
        os.close(self._descriptor)


@dataclass
class OpenStore:
    """A store that is open: the connection that writes, the one that reads, and the lock."""

    url: str
    writer: SqliteDatabase
    reader: SqliteDatabase
    lock: FileLock | None = field(default=None)

    @property
    def is_memory(self) -> bool:
        """Tell whether nothing of this store is on a disk."""
        return self.reader is self.writer

    def close(self) -> None:
        """Close everything; the log is written back into the file."""
        if not self.is_memory:
            self.reader.close()
        self.writer.close()
        if self.lock is not None:
            self.lock.release()


async def open_store(url: str) -> OpenStore:
    """Open a store for an engine, making it if it is not there.

    Raises StoreInUse when another engine has it, StoreUnavailable when it cannot be opened or is newer than this code.
    """
    path = store_path(url)
    if path is None:
        database = SqliteDatabase(f"file:/fanfold-{os.getpid()}-{next(_memory_count)}?vfs=memdb")
        await migrate(database, url)
        return OpenStore(url, database, database)
    if not path.parent.is_dir():
        raise StoreUnavailable(f"there is no folder {path.parent} for the store {path.name}; make it first")
    lock = FileLock(path.with_name(path.name + ".lock"))
    try:
        if path.exists() and path.stat().st_size:
            # Read first: opened for writing, a database of something else would be changed before it is refused.
            before = SqliteDatabase(str(path), read_only=True)
            try:
                await _is_store(before, url)
            finally:
                before.close()
        writer = SqliteDatabase(str(path))
        await migrate(writer, url)
        return OpenStore(url, writer, SqliteDatabase(str(path), read_only=True), lock)
    except BaseException:
        lock.release()
        raise


async def open_reader(url: str) -> SqliteDatabase:
    """Open a store for reading only, beside a running engine or without one; StoreUnavailable if it is not there."""
    path = store_path(url)
    if path is None:
        raise StoreUnavailable("a store in memory can be read only by the app that holds it")
    if not path.exists():
        raise StoreUnavailable(f"there is no store {path}; App(store=), FANFOLD_STORE or --store say where it is")
    database = SqliteDatabase(str(path), read_only=True)
    try:
        await _check_version(database, url)
    except BaseException:
        database.close()
        raise
    return database


async def migrate(database: SqliteDatabase, url: str) -> None:
    """Make the schema, or bring it up to this version, in one transaction."""
    if await _is_store(database, url):
        return
    folder = resources.files("fanfold.store").joinpath("migrations")
    await database.begin()
    try:
        for migration in sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".sql")):
            text = folder.joinpath(migration).read_text(encoding="utf-8")
            database.script(statements.render(text, database.dialect))
        named = statements.load(database.dialect)
        await database.execute(named["insert_meta"], {"version": SCHEMA_VERSION, "store_id": ids.new_store_id()})
    except BaseException:
        with contextlib.suppress(Exception):
            await database.rollback()
        raise
    await database.commit()


async def _is_store(database: SqliteDatabase, url: str) -> bool:
    """Tell a store from an empty database; StoreUnavailable for one of something else, or of another version."""
    if await database.fetch("SELECT count(*) FROM sqlite_schema WHERE name = 'meta'", {}):
        await _check_version(database, url)
        return True
    if await database.fetch("SELECT count(*) FROM sqlite_schema", {}):
        raise StoreUnavailable(_NOT_OURS.format(url))
    return False


async def _check_version(database: SqliteDatabase, url: str) -> None:
    if not await database.fetch("SELECT count(*) FROM sqlite_schema WHERE name = 'meta'", {}):
        raise StoreUnavailable(f"{url} is no store, or one that is being made at this moment")
    try:
        found = await database.fetch("SELECT schema_version FROM meta", {})
    except BatchRejected:
        raise StoreUnavailable(_NOT_OURS.format(url)) from None
    if found != SCHEMA_VERSION:
        raise StoreUnavailable(
            f"{url} has schema version {found}, this fanfold knows version {SCHEMA_VERSION}; upgrade fanfold"
        )
