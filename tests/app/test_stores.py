"""What can stand between an app and its store: each says what, where, and what to do."""

import asyncio
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path

import pytest

from fanfold import App
from fanfold.errors import NotAllowed, StoreInUse, StoreUnavailable
from tests.app.program import LIMIT_S, files, make, runs_in_a_loop

HOLDER = """
import asyncio, sys
from tests.app.program import make
app = make()

async def main():
    async with app:
        run = await app.start(app.tasks["double"].options(key="k"), 4)
        await run.result()
        print(run.id, flush=True)
        await asyncio.to_thread(sys.stdin.read)

asyncio.run(main())
"""
ROOT = Path(__file__).parents[2]


def program(text: str, **options):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [sys.executable, "-c", text], stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=environment, **options
    )


@pytest.fixture
def holder():
    """Another process that is at work on the store."""
    with program(HOLDER) as process:
        assert process.stdout.readline() == "1\n"
        yield process
        process.kill()


def refused(app: App, error: type[Exception] = StoreUnavailable) -> str:
    """Return what is said to each who would open the store; it is one thing to all."""

    async def enter() -> None:
        async with app:
            pass

    told = set()
    for attempt in (
        lambda: app.run(app.tasks["double"], 1),
        lambda: asyncio.run(enter()),
        lambda: app.blocking.start(app.tasks["double"], 1),
    ):
        with pytest.raises(error) as raised:
            attempt()
        told.add(str(raised.value))
    app.blocking.close()
    (text,) = told
    return text


def works(app: App) -> bool:
    return app.run(app.tasks["double"], 4) == 8


# In use ---------------------------------------------------------------------------------------------------------------


def test_a_second_process_is_told_which_one_has_the_store(holder):
    text = refused(make(), StoreInUse)
    assert f"process {holder.pid} has an engine on {Path.cwd()}/runs.db; one engine a file" in text
    assert "Start runs in that program, stop it, or give this one another store" in text
    assert "fanfold runs list" in text


def test_a_second_process_may_look(holder):
    app = make()
    run = app.blocking.get(app.tasks["double"], "k")
    assert (run.status().state, run.result(), [status.id for status in app.blocking.runs()]) == ("completed", 8, [1])
    app.blocking.close()


def test_a_cancel_in_a_second_process_names_the_one_that_can(holder):
    app = make()
    with closing(sqlite3.connect("runs.db")) as connection, connection:
        connection.execute("UPDATE runs SET state = 'paused', finished_at = NULL")
    with pytest.raises(NotAllowed, match=f"Process {holder.pid} has the engine of this store: cancel the run there"):
        app.blocking.get(1).cancel()
    app.blocking.close()


def test_a_killed_process_leaves_no_lock(holder):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert Path("runs.db.lock").read_text() == f"{holder.pid}\n"
    assert works(make())


@runs_in_a_loop
async def test_a_second_app_in_one_process_is_told_so():
    async with make():
        second = make()
        with pytest.raises(
            StoreInUse, match=rf"this very process \({os.getpid()}\) has an engine on .*runs.db"
        ) as raised:
            async with second:
                pass
        assert raised.value.pid == os.getpid()
        assert "one `async with app` around the program" in str(raised.value)
        assert [status async for status in second.runs()] == []
    async with second:
        pass


FORK = """
import os, sys
from tests.app.program import make
from fanfold import StoreInUse

app = make()
double = app.tasks["double"]
run = app.blocking.start(double, 4)
assert run.result() == 8
before = os.getpid()
go_read, go = os.pipe()
child = os.fork()
if child == 0:
    os.close(go)
    other = make()
    attempts = [
        lambda: app.blocking.start(double, 5), run.status, run.result, lambda: list(app.blocking.runs()),
        lambda: app.run(double, 5), lambda: other.run(other.tasks["double"], 5), lambda: list(other.blocking.runs()),
    ]
    for attempt in attempts:
        try:
            attempt()
        except StoreInUse as error:
            assert f"was forked from process {before}" in str(error) or "was forked while process" in str(error), error
            assert error.pid == before
        else:
            raise AssertionError("used in a fork")
    print("refused", flush=True)
    elsewhere = make(store="sqlite:///elsewhere.db")
    assert elsewhere.run(elsewhere.tasks["double"], 5) == 10
    os.read(go_read, 1)
    sys.exit(7)  # through the whole end of an interpreter
os.close(go_read)
assert app.blocking.start(double, 6).result() == 12
app.blocking.close()
with app.blocking:  # the fork lives, and holds no lock
    assert app.blocking.start(double, 7).result() == 14
    os.close(go)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert app.blocking.start(double, 8).result() == 16
print("done", flush=True)
"""


def test_a_fork_of_the_program_may_use_nothing_of_it_and_harms_nothing():
    with program(FORK) as process:
        out, err = process.communicate(timeout=LIMIT_S)
    assert (out, process.returncode) == ("refused\ndone\n", 0), err
    with closing(sqlite3.connect("runs.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("SELECT count(*) FROM runs WHERE state = 'completed'").fetchall() == [(4,)]


# Not to be opened -----------------------------------------------------------------------------------------------------


def test_a_missing_folder_is_named_with_the_command_that_makes_it():
    text = refused(make(store="sqlite:///no/such/runs.db"))
    assert f"there is no folder {Path.cwd()}/no/such for the store runs.db" in text
    assert f"mkdir -p {Path.cwd()}/no/such" in text


def test_a_folder_is_no_store_and_gets_no_lock_beside_it():
    Path("folder").mkdir()
    text = refused(make(store="sqlite:///folder"))
    assert f"{Path.cwd()}/folder is no file; name one in it, as in sqlite:///{Path.cwd()}/folder/fanfold.db" in text
    assert [path.name for path in Path().iterdir()] == ["folder"]


def test_a_file_that_is_no_database_stays_as_it_is():
    Path("runs.db").write_text("customer_id,company\n" * 100)
    assert "the file is not a database; give fanfold a file of its own" in refused(make())
    assert Path("runs.db").read_text().startswith("customer_id")


def test_a_database_of_something_else_stays_as_it_is():
    with closing(sqlite3.connect("runs.db")) as connection:
        connection.executescript("CREATE TABLE films (id)")
    before = Path("runs.db").read_bytes()
    assert "is a database of something else; give fanfold a file of its own" in refused(make())
    assert Path("runs.db").read_bytes() == before


def test_a_newer_schema_asks_for_an_upgrade():
    assert works(make())
    with closing(sqlite3.connect("runs.db")) as connection, connection:
        connection.execute("UPDATE meta SET schema_version = 99")
    assert "has schema version 99, this fanfold knows version 2; upgrade fanfold: pip install" in refused(make())


def test_an_empty_file_becomes_a_store():
    Path("runs.db").touch()
    assert works(make())


@pytest.fixture
def others_folder():
    """A folder with a store in which this process may not write: for the superuser by being nobody meanwhile."""
    folder = Path(tempfile.mkdtemp())
    assert works(make(store=f"sqlite:///{folder}/runs.db"))
    (folder / "runs.db").chmod(0o444)
    (folder / "runs.db.lock").chmod(0o666)
    is_superuser = os.geteuid() == 0
    before = Path.cwd()
    os.chdir("/")
    folder.chmod(0o777)

    def lower() -> None:
        folder.chmod(0o555)
        if is_superuser:
            os.seteuid(65534)

    yield folder, lower
    if is_superuser:
        os.seteuid(0)
    os.chdir(before)
    folder.chmod(0o755)
    shutil.rmtree(folder)


def test_a_file_that_may_not_be_written_is_named_with_the_ways(others_folder):
    folder, lower = others_folder
    lower()
    text = refused(make(store=f"sqlite:///{folder}/runs.db"))
    assert f"cannot open the store {folder}/runs.db: this user may not write it (chmod u+w" in text
    assert "fanfold runs list" in text


def test_a_folder_that_may_not_be_written_is_named(others_folder):
    folder, lower = others_folder
    lower()
    text = refused(make(store=f"sqlite:///{folder}/new.db"))
    assert f"cannot open the store's lock {folder}/new.db.lock: Permission denied" in text
    assert "An engine needs to write in that folder" in text


def test_a_store_that_may_not_be_written_may_be_looked_at(others_folder):
    folder, lower = others_folder
    lower()
    app = make(store=f"sqlite:///{folder}/runs.db")
    assert [status.output for status in app.blocking.runs()] == [8]
    assert app.blocking.get(1).result() == 8
    app.blocking.close()


@pytest.mark.parametrize(
    "url",
    ["runs.db", "sqlite:/runs.db", "sqlite://runs.db", "sqlite:///", "sqlite:////", "mysql://x", "sqlite:///a?mode=ro"],
)
def test_what_is_no_url_of_a_store_is_told_how_to_write_one(url: str):
    text = refused(make(store=url))
    assert (
        f"{url!r} is not a store: write sqlite:///relative.db, sqlite:////absolute.db, or sqlite:// for memory" in text
    )


def test_a_reader_of_a_store_that_is_not_there_makes_none():
    app = make()
    with pytest.raises(StoreUnavailable, match=f"there is no store {Path.cwd()}/runs.db; App"):
        list(app.blocking.runs())
    app.blocking.close()
    assert not list(Path().iterdir())


# Odd, and fine --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["with space.db", "100%41.db", "männlich-日本.db", "file:x.db", "a#b.db", "it's.db", "-x", "sub/../runs.db"]
)
def test_a_path_is_taken_as_it_is(name: str):
    Path("sub").mkdir()
    app = make(store=f"sqlite:///{name}")
    assert works(app)
    assert Path(name).stat().st_size
    assert len(list(app.blocking.runs())) == 1
    app.blocking.close()


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:"])
def test_a_store_in_memory_leaves_nothing(url: str):
    assert works(make(store=url))
    assert not list(Path().iterdir())


@runs_in_a_loop
async def test_an_app_at_work_stays_with_its_file_when_the_working_folder_changes():
    app = make()
    double = app.tasks["double"]
    async with app:
        before = Path.cwd()
        (before / "elsewhere").mkdir()
        os.chdir("elsewhere")
        run = await app.start(double, 4)
        assert await run.result() == 8
        assert [status.id async for status in app.runs()] == [run.id]
        await app._session.opened.writer.reopen()
        assert await (await app.start(double, 5)).result() == 10
    assert files() == []
    with pytest.raises(StoreUnavailable, match=r"elsewhere/runs\.db"):
        await run.status()
    os.chdir(before)
    assert (await run.status()).state == "completed"


def test_the_store_is_the_apps_own_then_the_environments_then_the_default(monkeypatch: pytest.MonkeyPatch):
    assert App().store == "sqlite:///fanfold.db"
    monkeypatch.setenv("FANFOLD_STORE", "sqlite:///other.db")
    assert (App().store, App(store="sqlite:///mine.db").store) == ("sqlite:///other.db", "sqlite:///mine.db")
