"""What people hear of a store that cannot be written, and how long an engine that closes waits for it."""

import asyncio
import time
from pathlib import Path

import apsw
import pytest

from fanfold import App
from fanfold.engine.committer import RETRY_MS
from fanfold.engine.trouble import SAY_AGAIN_MS
from fanfold.errors import StoreUnavailable
from fanfold.model.commands import Outcome
from fanfold.store.database import StoreBusy
from fanfold.store.opening import lock_holder
from tests.engine.desk import Desk, on_a_loop, turn

FULL = StoreBusy("database or disk is full (make room on that disk)")


def wait_for(desk: Desk, ms: int, error: StoreBusy = FULL) -> None:
    """Let the store be busy for so long."""
    until = desk.clock.now_ms() + ms
    while desk.clock.now_ms() < until:
        desk.writer.answer(error)
        desk.clock.move_to(desk.clock.now_ms() + RETRY_MS)


@on_a_loop
async def test_a_full_disk_is_told_once_then_seldom_and_when_it_is_over(caplog: pytest.LogCaptureFixture):
    desk = Desk()
    desk.commits.spawn(desk.roots(1))
    await turn()
    wait_for(desk, SAY_AGAIN_MS)
    (begins,) = caplog.messages
    assert "store.db cannot be written: database or disk is full (make room" in begins
    assert "Nothing is lost" in begins
    assert "goes on by itself" in begins
    wait_for(desk, SAY_AGAIN_MS)
    assert caplog.messages[1:] == [f"the store store.db cannot be written, for 30 s now: {FULL}"]
    await desk.settle()
    assert caplog.messages[2:] == ["the store store.db can be written again, after 60 s: everything goes on"]
    desk.commits.spawn(desk.roots(1))
    await desk.settle()
    assert len(caplog.messages) == 3


@on_a_loop
async def test_who_hurries_does_not_wait_for_a_store_that_cannot_be_written(caplog: pytest.LogCaptureFixture):
    desk = Desk()
    desk.commits.spawn(desk.roots(3))
    await turn()
    desk.writer.answer(FULL)
    desk.commits.hurry(0.01)
    waiting = asyncio.ensure_future(desk.commits.idle())
    await asyncio.wait({waiting}, timeout=0.1)
    assert not waiting.done()
    desk.writer.answer(FULL)  # of a last try, without waiting for its time
    await waiting
    assert "closed without what was asked for last (commands: 3)" in caplog.text
    desk.commits.spawn(desk.roots(1))
    await desk.commits.idle()
    desk.commits.close()
    assert (desk.committed, desk.writer.current) == ([], None)


@on_a_loop
async def test_a_last_try_that_works_is_a_commit_as_any():
    desk = Desk()
    desk.commits.spawn(desk.roots(3))
    await turn()
    desk.writer.answer(FULL)
    desk.commits.hurry(0)
    while not desk.commits.is_idle:
        await desk.settle()
    assert len(desk.new_ids()) == 3


@on_a_loop
async def test_a_store_that_fails_for_the_first_time_at_the_very_end_is_tried_again():
    desk = Desk()
    desk.commits.hurry(0)
    await asyncio.sleep(0)
    desk.commits.spawn(desk.roots(3))
    await turn()
    desk.writer.answer(FULL)
    desk.clock.move_to(desk.clock.now_ms() + RETRY_MS)
    await desk.settle()
    assert len(desk.new_ids()) == 3


@on_a_loop
async def test_who_hurries_waits_for_a_store_that_is_only_slow():
    desk = Desk()
    desk.commits.spawn(desk.roots(1))
    await turn()
    desk.commits.hurry(0)
    waiting = asyncio.ensure_future(desk.commits.idle())
    await asyncio.wait({waiting}, timeout=0.02)
    assert not waiting.done()
    desk.writer.answer(Outcome(0))
    await waiting


# An app that closes --------------------------------------------------------------------------------------------------


def sleeper(path: Path) -> App:
    app = App("closing", store=f"sqlite:///{path}")

    @app.task
    async def never(n: int) -> int:
        await asyncio.get_running_loop().create_future()
        return n

    return app


@on_a_loop
async def closes_on_a_full_disk(path: Path) -> float:
    app = sleeper(path)
    await app.__aenter__()
    session = app._session
    assert session is not None
    await app.start(app.tasks["never"], 1)

    async def fail() -> None:
        raise FULL

    session.opened.writer.begin = fail
    began = time.monotonic()
    await session.close(0.05)
    path.with_name("took").write_text(str(time.monotonic() - began))
    assert lock_holder(path) is None


def test_an_app_whose_store_stays_full_closes_after_the_grace_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    closes_on_a_full_disk(tmp_path / "full.db")
    assert float((tmp_path / "took").read_text()) < 2.5
    assert "the next start does the rest again" in caplog.text


def test_a_worker_that_cannot_be_stopped_keeps_no_lock(tmp_path: Path):
    path = tmp_path / "kept.db"

    @on_a_loop
    async def close() -> None:
        app = sleeper(path)
        await app.__aenter__()
        session = app._session
        assert session is not None
        stop, session.worker.stop = session.worker.stop, _fails
        with pytest.raises(RuntimeError, match="planted"):
            await session.close()
        assert lock_holder(path) is None
        await stop(0)

    close()


async def _fails(_grace_s: float) -> int:
    raise RuntimeError("planted")


def test_who_waits_or_asks_after_the_app_is_closed_is_told(tmp_path: Path):
    @on_a_loop
    async def close() -> None:
        app = sleeper(tmp_path / "closed.db")
        async with app:
            session = app._session
            assert session is not None
            run = await app.start(app.tasks["never"], 1)
            engine = session.engine
            waiting = asyncio.ensure_future(engine.wait(run.id))
            await turn()
        for asked in (waiting, engine.wait(run.id), engine.resume(run.id), engine.queries.status(run.id)):
            with pytest.raises(StoreUnavailable, match=r"closed.*app\.get"):
                await asyncio.wait_for(asked, 5)

    close()


# Reads ---------------------------------------------------------------------------------------------------------------


@on_a_loop
async def test_a_read_that_fails_names_the_file_and_the_way_out(tmp_path: Path):
    path = tmp_path / "broken.db"
    app = sleeper(path)
    async with app:
        run = await app.start(app.tasks["never"], 1)
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (path.stat().st_size - 4096))
    with pytest.raises(StoreUnavailable, match=rf"{path}.*malformed.*\.recover"):
        await anext(app.runs())
    path.unlink()
    apsw.Connection(str(path)).execute("CREATE TABLE meta (x)")
    with pytest.raises(StoreUnavailable, match="database of something else; give fanfold a file of its own"):
        await anext(app.runs())
    assert run.id == 1


@on_a_loop
async def test_a_broken_file_stops_the_engine_and_fails_no_run(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    app = sleeper(tmp_path / "broken.db")
    await app.__aenter__()
    session = app._session
    assert session is not None
    run = await app.start(app.tasks["never"], 1)
    real = session.opened.writer._connection

    class Broken:
        in_transaction = True

        def execute(self, statement: str, *_: object) -> object:
            if statement.startswith("ROLLBACK"):
                return real.execute(statement)
            if statement.startswith("BEGIN"):
                return None
            raise apsw.CorruptError("database disk image is malformed")

    session.opened.writer._connection = Broken()
    with pytest.raises(StoreUnavailable, match=r"stopped: cannot use the store .*broken\.db.*malformed"):
        await app.start(app.tasks["never"], 2)
    session.opened.writer._connection = real
    assert (await run.status()).state == "running"
    await session.close(0)
