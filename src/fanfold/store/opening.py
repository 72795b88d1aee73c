"""Opens a store from its URL: the lock that keeps a second engine out, the schema, the connections.

On SQLite one engine process holds a file. The operating system drops the lock when that process dies, however it
dies, so the next start takes over at once and needs no timeout. A fork holds nothing of it: the child gives up what it
inherited without a word to SQLite, whose connections must not be carried over a fork.

The store's file itself is never opened here, only by SQLite: whoever closes a descriptor of a file drops all locks that
SQLite has on it in this process, and another process could remove the log under a connection that is at work.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import weakref
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Final
from urllib.parse import quote

from fanfold.errors import StoreInUse, StoreUnavailable
from fanfold.model import ids
from fanfold.store import statements
from fanfold.store.database import BatchRejected, CommitUnknown, StoreBusy
from fanfold.store.queries import Queries
from fanfold.store.sqlite import NOT_A_DATABASE, SqliteDatabase

SCHEMA_VERSION = 2
DEFAULT_URL = "sqlite:///fanfold.db"
_LEAST_BYTES: Final = 512  # of a database; SQLite takes a file of a single byte for an empty one
_memory_count = itertools.count(1)
_NOT_OURS = "{} is a database of something else; give fanfold a file of its own"


def store_path(url: str) -> Path | None:
    """Return the file of a store's URL, None for a database in memory; StoreUnavailable for what is no such URL.

    What follows `sqlite:///` is the path as it is: nothing in it is decoded, and there are no options behind a `?`.
    """
    if url in ("sqlite://", "sqlite:///:memory:"):
        return None
    name = url.removeprefix("sqlite:///")
    if url.startswith("sqlite:///") and name.strip("/") and "\0" not in name and "?" not in name:
        return Path(name)
    raise StoreUnavailable(
        f"{url!r} is not a store: write sqlite:///relative.db, sqlite:////absolute.db, or sqlite:// for memory"
    )


class FileLock:
    """An OS lock beside the store's file, with the holder's process id in it; and one on the store's log.

    The first can be deleted, and then keeps nobody out. The log is there, under one name, while a connection is open,
    and nobody deletes it: that would cost the store what is in it. SQLite takes no lock of its own on it.
    """

    def __init__(self, path: Path) -> None:
        """Take the lock; StoreInUse if somebody has it."""
        self._pid = os.getpid()
        self._log_descriptor = -1
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreUnavailable(
                f"cannot open the store's lock {path}: {error.strerror}. An engine needs to write in that folder; "
                "to look at the store needs no lock"
            ) from None
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            held_by = os.read(self._descriptor, 32).decode(errors="replace").strip()
            os.close(self._descriptor)
            raise _in_use(path.with_suffix(""), held_by) from None
        except OSError as error:
            os.close(self._descriptor)
            raise StoreUnavailable(
                f"cannot lock {path}: {error.strerror}. Put the store on a local disk: App(store=), FANFOLD_STORE"
            ) from None
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)

    def guard(self, path: Path) -> None:
        """Lock the log of the store `path` as well, if there is one; StoreInUse if another engine has it."""
        try:
            descriptor = os.open(path.resolve().with_name(path.resolve().name + "-wal"), os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return  # none yet; or none that can be read, then SQLite says so
        self._give_up_log()  # it may be the same file
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise StoreInUse(
                f"an engine has {path}, in a process that cannot be named here: its lock file was deleted, or it uses "
                f"another name of the file. One engine a file: stop that program (`lsof {path}` finds it), or give "
                "this one another store (App(store=), FANFOLD_STORE)"
            ) from None
        self._log_descriptor = descriptor

    def release(self) -> None:
        """Give the locks back. The file stays: to delete it would let two processes lock two files of one name.

        A fork has a copy of each descriptor. There this closes it, which leaves the lock with the process that took it;
        that process unlocks for all copies, also for one that a fork has not come to close yet.
        """
        self._give_up_log()
        descriptor, self._descriptor = self._descriptor, -1
        self._give_up(descriptor)

    def _give_up_log(self) -> None:
        descriptor, self._log_descriptor = self._log_descriptor, -1
        self._give_up(descriptor)

    def _give_up(self, descriptor: int) -> None:
        if descriptor >= 0:
            if self._pid == os.getpid():
                fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)


def _in_use(path: Path, held_by: str) -> StoreInUse:
    pid = int(held_by) if held_by.isdigit() else None
    if pid == os.getpid():
        return StoreInUse(
            f"this very process ({pid}) has an engine on {path} already; one engine a file. Use the app that is at "
            "work (one `async with app` around the program, app.start inside it), or give this one another store "
            "(App(store=), FANFOLD_STORE)",
            pid,
        )
    return StoreInUse(
        f"process {held_by or '(unknown)'} has an engine on {path}; one engine a file. Start runs in that program, "
        "stop it, or give this one another store (App(store=), FANFOLD_STORE). To look at runs needs no engine: "
        "app.runs, `fanfold runs list`",
        pid,
    )


def lock_holder(path: Path) -> int | None:
    """Return the process that has an engine on a store's file, None if there is none.

    The lock is tried for a moment and only where its file names a living process: an engine that starts at that very
    instant would find it taken.
    """
    try:
        descriptor = os.open(path.with_name(path.name + ".lock"), os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        text = os.read(descriptor, 32).decode(errors="replace").strip()
        if not text.isdigit() or not _is_alive(int(text)):
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return int(text)
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return None


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


@dataclass(eq=False)
class OpenStore:
    """A store that is open: the connection that writes, the one that reads, and the lock."""

    url: str
    writer: SqliteDatabase
    reader: SqliteDatabase
    lock: FileLock | None = field(default=None)
    path: Path | None = field(default=None)

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
        _open_stores.discard(self)


# Forks ---------------------------------------------------------------------------------------------------------------

_open_stores: weakref.WeakSet[OpenStore] = weakref.WeakSet()
_inherited: dict[Path, int] = {}  # in a fork: files that were open, and in which process


def _leave_to_parent() -> None:
    """Give up, in a fork, what belongs to the process that it came from."""
    import ctypes

    for opened in list(_open_stores):
        if opened.lock is not None and opened.path is not None:
            opened.lock.release()
            _inherited[opened.path] = os.getppid()
            # Never collected: SQLite would close its connections, on files that another process works on.
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(opened))
            _open_stores.discard(opened)


os.register_at_fork(after_in_child=_leave_to_parent)


def refuse_fork(path: Path) -> None:
    """Raise StoreInUse where this process is a fork of one that had the file open: SQLite's state came along."""
    pid = _inherited.get(path)
    if pid is not None:
        raise StoreInUse(
            f"process {os.getpid()} was forked while process {pid} had an engine on {path}, which stays with that "
            "one. Start a process of its own: subprocess, or multiprocessing with 'spawn' or 'forkserver'",
            pid,
        )


# Opening -------------------------------------------------------------------------------------------------------------


async def open_store(url: str) -> OpenStore:
    """Open a store for an engine, making it if it is not there. A relative path counts from the working folder now.

    Raises StoreInUse when another engine has it, StoreUnavailable when it cannot be opened or is newer than this code.
    """
    path = store_path(url)
    if path is None:
        database = SqliteDatabase(f"file:/fanfold-{os.getpid()}-{next(_memory_count)}?vfs=memdb")
        await migrate(database, url)
        return OpenStore(url, database, database)
    path = _checked_path(path)
    with contextlib.ExitStack() as undo:
        lock = FileLock(path.with_name(path.name + ".lock"))
        undo.callback(lock.release)
        lock.guard(path)
        if path.exists() and (size := path.stat().st_size):
            if size < _LEAST_BYTES:
                raise StoreUnavailable(f"cannot open the store {path}: {NOT_A_DATABASE}")
            # Read first: opened for writing, a database of something else would be changed before it is refused.
            before = SqliteDatabase(str(path), read_only=True)
            try:
                await _is_store(before, url)
            finally:
                before.close()
        writer = SqliteDatabase(str(path))
        undo.callback(writer.close)
        lock.guard(path)  # the log that is there from now on
        await migrate(writer, url)
        opened = OpenStore(url, writer, SqliteDatabase(str(path), read_only=True), lock, path)
        undo.pop_all()
    _open_stores.add(opened)
    return opened


def _checked_path(path: Path) -> Path:
    """Return the absolute path of a file that can be a store; the working folder may change later."""
    path = path.absolute()
    try:
        if not path.parent.is_dir():
            raise StoreUnavailable(
                f"there is no folder {path.parent} for the store {path.name}; make it first: mkdir -p {path.parent}"
            )
        if path.exists() and not path.is_file():
            raise StoreUnavailable(f"{path} is no file; name one in it, as in sqlite:///{path}/fanfold.db")
        if path.exists() and not _may_write(path):
            raise StoreUnavailable(
                f"cannot open the store {path}: this user may not write it (chmod u+w {path}). To look at it: "
                "app.runs, `fanfold runs list`"
            )
    except OSError as error:
        raise StoreUnavailable(f"cannot open the store {path}: {error.strerror}") from None
    refuse_fork(path)
    return path


def _may_write(path: Path) -> bool:
    return os.access(path, os.W_OK, effective_ids=os.access in os.supports_effective_ids)


async def open_reader(url: str) -> SqliteDatabase:
    """Open a store for reading only, beside a running engine or without one; StoreUnavailable if it is not there."""
    path = store_path(url)
    if path is None:
        raise StoreUnavailable("a store in memory can be read only by the app that holds it, while it is at work")
    path = path.absolute()
    if not path.exists():
        raise StoreUnavailable(f"there is no store {path}; App(store=), FANFOLD_STORE or --store say where it is")
    refuse_fork(path)
    # Even a reader writes an index beside the log. Where it may not, a file without a log can be read as it is.
    is_archive = not _may_write(path.parent) and not path.with_name(path.name + "-wal").exists()
    place = f"file:{quote(str(path))}?immutable=1" if is_archive else str(path)
    database = SqliteDatabase(place, read_only=True)
    try:
        await _check_version(database, url)
    except BaseException:
        database.close()
        raise
    return database


@contextlib.asynccontextmanager
async def reading(url: str) -> AsyncGenerator[Queries]:
    """Open a store for a short look, beside a running engine or without one."""
    database = await open_reader(url)
    try:
        yield Queries(database)
    finally:
        database.close()


async def migrate(database: SqliteDatabase, url: str) -> None:
    """Make the schema, or bring it up to this version, in one transaction."""
    if await _is_store(database, url):
        return
    folder = resources.files("fanfold.store").joinpath("migrations")
    async with _transaction(database, f"make the store {url}"):
        for migration in sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".sql")):
            text = folder.joinpath(migration).read_text(encoding="utf-8")
            database.script(statements.render(text, database.dialect))
        named = statements.load(database.dialect)
        await database.execute(named["insert_meta"], {"version": SCHEMA_VERSION, "store_id": ids.new_store_id()})


@contextlib.asynccontextmanager
async def _transaction(database: SqliteDatabase, aim: str) -> AsyncGenerator[None]:
    """Commit what is done within, or nothing of it; StoreUnavailable, with its aim, if the store does not take it."""
    try:
        await database.begin()
        try:
            yield
        except BaseException:
            await database.rollback()
            raise
        await database.commit()
    except (StoreBusy, BatchRejected, CommitUnknown) as error:
        raise StoreUnavailable(f"cannot {aim}: {error}") from None


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
    found = await database.fetch("SELECT schema_version FROM meta", {})
    if found != SCHEMA_VERSION:
        is_newer = int(found or 0) > SCHEMA_VERSION
        way_out = "upgrade fanfold: pip install --upgrade fanfold"
        raise StoreUnavailable(
            f"{url} has schema version {found}, this fanfold knows version {SCHEMA_VERSION}; "
            + (way_out if is_newer else "finish it with the fanfold that made it, and begin another file")
        )


async def accept_clock(url: str, wall_ms: int) -> tuple[int, int]:
    """Take the wall for the time of a store that was written ahead of it, as long as no engine has it.

    Returns by how many milliseconds it was ahead (0 or less: nothing was changed) and how many pending runs moved.
    """
    opened = await open_store(url)
    try:
        *_, clock_ms = await Queries(opened.reader).meta()
        ahead_ms = clock_ms - wall_ms
        if ahead_ms <= 0:
            return ahead_ms, 0
        writer, named = opened.writer, statements.load(opened.writer.dialect)
        async with _transaction(writer, f"accept the clock in {url}"):
            moved = await writer.execute(named["move_pending"], {"ahead_ms": ahead_ms})
            await writer.execute(named["set_clock"], {"now": wall_ms})
        return ahead_ms, moved
    finally:
        opened.close()
