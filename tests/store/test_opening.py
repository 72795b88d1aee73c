"""A store is opened by its URL, made when it is not there, and refused when it is not ours or cannot be used."""

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from fanfold.engine.writers import drive
from fanfold.errors import StoreUnavailable
from fanfold.store.database import BatchRejected, CommitUnknown, StoreBusy
from fanfold.store.opening import SCHEMA_VERSION, accept_clock, open_reader, open_store, reading, store_path
from fanfold.store.queries import Queries
from fanfold.store.sqlite import SqliteDatabase


def refused(url: str) -> str:
    with pytest.raises(StoreUnavailable) as raised:
        drive(open_store(url)).close()
    return str(raised.value)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


def made(path: Path) -> str:
    """Make a store, close it, and return its URL."""
    drive(open_store(f"sqlite:///{path}")).close()
    return f"sqlite:///{path}"


def foreign(path: Path, script: str) -> str:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(script)
    return f"sqlite:///{path}"


def test_a_store_is_made_with_its_schema_and_an_id_of_its_own(path: Path):
    opened = drive(open_store(f"sqlite:///{path}"))
    version, store_id, next_id, sequence, clock_ms = drive(Queries(opened.reader).meta())
    opened.close()
    assert (version, next_id, sequence, clock_ms) == (SCHEMA_VERSION, 1, 0, 0)
    assert len(store_id) == 32


def test_a_store_that_is_opened_again_is_the_same(path: Path):
    url = made(path)
    ids = []
    for _ in range(2):
        opened = drive(open_store(url))
        ids.append(drive(Queries(opened.reader).meta())[1])
        opened.close()
    assert ids[0] == ids[1]


def test_stores_in_memory_are_apart():
    one, two = drive(open_store("sqlite://")), drive(open_store("sqlite:///:memory:"))
    assert drive(Queries(one.reader).meta())[1] != drive(Queries(two.reader).meta())[1]
    assert one.is_memory
    one.close()
    two.close()


def test_an_absolute_and_a_relative_path_are_told_apart():
    assert store_path("sqlite:////tmp/a.db") == Path("/tmp/a.db")
    assert store_path("sqlite:///a.db") == Path("a.db")


@pytest.mark.parametrize("url", ["fanfold.db", "postgres://x/y", "sqlite:/a.db", ""])
def test_what_is_no_url_of_a_store_is_refused(url: str):
    assert "is not a store" in refused(url)


def test_a_missing_folder_is_named(tmp_path: Path):
    assert f"there is no folder {tmp_path}/nowhere" in refused(f"sqlite:///{tmp_path}/nowhere/store.db")


def test_a_newer_schema_is_refused_by_number(path: Path):
    url = made(path)
    foreign(path, "UPDATE meta SET schema_version = 99")
    assert "schema version 99" in refused(url)
    with pytest.raises(StoreUnavailable, match="schema version 99"):
        drive(open_reader(url))


def test_a_database_of_something_else_is_refused(path: Path):
    assert "is a database of something else" in refused(foreign(path, "CREATE TABLE films (id)"))


def test_a_database_of_something_else_is_left_as_it_was(path: Path):
    url = foreign(path, "CREATE TABLE films (id); INSERT INTO films VALUES (1)")
    before = path.read_bytes()
    refused(url)
    assert path.read_bytes() == before


@pytest.mark.parametrize("table", ["CREATE TABLE meta (name, value)", "CREATE TABLE meta (schema_version)"])
def test_a_database_of_something_else_with_a_table_of_our_name_is_refused(path: Path, table: str):
    refused(foreign(path, table))


@pytest.mark.parametrize("text", ["customer_id,company\n" * 100, "Dear diary", "\n"])
def test_a_file_that_is_no_database_is_refused_and_left_as_it_was(path: Path, text: str):
    path.write_text(text)
    assert "file is not a database" in refused(f"sqlite:///{path}")
    assert path.read_text() == text


def test_an_empty_file_becomes_a_store(path: Path):
    path.touch()
    made(path)
    assert path.stat().st_size > 0


def test_a_folder_is_no_store(tmp_path: Path):
    refused(f"sqlite:///{tmp_path}")


def test_the_lock_is_free_after_a_refusal(path: Path):
    path.write_text("no database, and no small one either; " * 100)
    refused(f"sqlite:///{path}")
    path.unlink()
    made(path)


def test_a_refused_migration_leaves_nothing_behind(path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("fanfold.model.ids.new_store_id", lambda: None)
    assert "cannot make the store" in refused(f"sqlite:///{path}")
    monkeypatch.undo()
    made(path)


FAULTS = {
    "begin": StoreBusy("the disk is full"),
    "execute": BatchRejected("the transaction is gone"),
    "commit": CommitUnknown("the disk is gone"),
}


def plant(monkeypatch: pytest.MonkeyPatch, verb: str) -> str:
    """Let a verb of every connection fail; return what it says."""

    async def fail(*arguments: object) -> None:
        raise FAULTS[verb]

    monkeypatch.setattr(SqliteDatabase, verb, fail)
    return str(FAULTS[verb])


@pytest.mark.parametrize("verb", FAULTS)
def test_a_store_that_cannot_be_made_says_why(path: Path, monkeypatch: pytest.MonkeyPatch, verb: str):
    why = plant(monkeypatch, verb)
    assert refused(f"sqlite:///{path}") == f"cannot make the store sqlite:///{path}: {why}"
    monkeypatch.undo()
    made(path)


def test_a_script_that_cannot_be_run_is_no_error_of_sqlites_own(path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("fanfold.store.statements.render", lambda text, dialect: "CREATE TABLE films (id); nonsense")
    assert "cannot make the store" in refused(f"sqlite:///{path}")
    monkeypatch.undo()
    made(path)


@pytest.mark.parametrize("verb", FAULTS)
def test_a_clock_that_cannot_be_accepted_says_why(path: Path, monkeypatch: pytest.MonkeyPatch, verb: str):
    url = made(path)
    foreign(path, "UPDATE meta SET clock_ms = 5000")
    why = plant(monkeypatch, verb)
    with pytest.raises(StoreUnavailable) as raised:
        drive(accept_clock(url, 1000))
    assert str(raised.value) == f"cannot accept the clock in {url}: {why}"
    monkeypatch.undo()
    assert drive(accept_clock(url, 1000)) == (4000, 0)
    assert drive(accept_clock(url, 1000)) == (0, 0)


def test_a_look_at_a_table_that_is_missing_says_which_store(path: Path):
    url = made(path)
    foreign(path, "DROP TABLE attempts")

    async def look() -> None:
        async with reading(url) as queries:
            await queries.attempts(1)

    with pytest.raises(StoreUnavailable, match=f"cannot read the store {path}: no such table"):
        drive(look())


@pytest.fixture
def nobodys_folder() -> Iterator[Path]:
    """A folder in which this process may not write: for the superuser by being nobody meanwhile."""
    folder = Path(tempfile.mkdtemp())
    store = folder / "store.db"
    made(store)
    store.chmod(0o444)
    (folder / "store.db.lock").chmod(0o666)
    folder.chmod(0o555)
    is_superuser = os.geteuid() == 0
    if is_superuser:
        os.seteuid(65534)
    yield folder
    if is_superuser:
        os.seteuid(0)
    folder.chmod(0o755)
    shutil.rmtree(folder)


def test_a_file_that_cannot_be_written_is_refused(nobodys_folder: Path):
    assert "cannot open the store" in refused(f"sqlite:///{nobodys_folder}/store.db")


def test_a_lock_that_cannot_be_made_is_named(nobodys_folder: Path):
    assert "other.db.lock" in refused(f"sqlite:///{nobodys_folder}/other.db")


def test_a_reader_of_a_store_that_is_not_there_makes_none(path: Path):
    with pytest.raises(StoreUnavailable, match="there is no store"):
        drive(open_reader(f"sqlite:///{path}"))
    assert not path.exists()


def test_a_reader_of_a_store_in_memory_is_refused():
    with pytest.raises(StoreUnavailable, match="in memory"):
        drive(open_reader("sqlite://"))


def test_a_reader_sees_what_a_running_engine_committed_and_can_write_nothing(path: Path):
    opened = drive(open_store(f"sqlite:///{path}"))
    reader = drive(open_reader(f"sqlite:///{path}"))
    assert drive(Queries(reader).meta()) == drive(Queries(opened.reader).meta())
    with pytest.raises((StoreBusy, BatchRejected)):
        drive(reader.execute("DELETE FROM meta", {}))
    with pytest.raises(StoreUnavailable, match="chmod"):
        drive(reader.fetch("DELETE FROM meta RETURNING 1", {}))
    reader.close()
    opened.close()


def test_closing_writes_the_log_back_into_the_file(path: Path):
    made(path)
    assert not path.with_name("store.db-wal").exists() or path.with_name("store.db-wal").stat().st_size == 0
    with closing(sqlite3.connect(f"file:{path}?immutable=1", uri=True)) as connection:
        assert connection.execute("SELECT schema_version FROM meta").fetchall() == [(SCHEMA_VERSION,)]


def test_closing_beside_an_open_reader_shortens_the_log_all_the_same(path: Path):
    opened = drive(open_store(f"sqlite:///{path}"))
    reader = drive(open_reader(f"sqlite:///{path}"))
    opened.close()
    assert path.with_name("store.db-wal").stat().st_size == 0
    reader.close()
