"""`app.blocking`: the same names without `await`, from any thread but the engine's own."""

import asyncio
import inspect
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fanfold import App, Run, TaskCancelled, TaskFailed
from fanfold.blocking import Blocking, BlockingRun
from fanfold.errors import InvalidInput, NotAllowed, NotFound
from tests.app.program import LIMIT_S, eventually, make, runs_in_a_loop


@pytest.fixture
def app():
    app = make()
    yield app
    app.blocking.close()


def names(kind: type) -> set[str]:
    return {name for name, value in vars(kind).items() if not name.startswith("_") and inspect.isfunction(value)}


@pytest.mark.parametrize(
    ("blocking", "plain", "name"),
    [(Blocking, App, name) for name in ("run", "start", "get", "runs")]
    + [(BlockingRun, Run, name) for name in sorted(names(Run))],
)
def test_the_parameters_are_those_of_the_async_name(blocking: type, plain: type, name: str):
    def parameters(kind: type):
        found = inspect.signature(getattr(kind, name)).parameters.values()
        return [(each.name, each.kind, each.default, each.annotation) for each in found]

    assert parameters(blocking) == parameters(plain)
    assert not inspect.iscoroutinefunction(getattr(blocking, name))


def test_a_blocking_run_has_all_that_a_run_has():
    assert names(BlockingRun) == names(Run)


def test_the_first_start_opens_an_engine_that_stays(app: App):
    double = app.tasks["double"]
    run = app.blocking.start(double.options(key="k", tags={"a": "b"}), 4)
    assert (run.result(), run.key, repr(run)) == (8, "k", f"<BlockingRun {run.id} of double, key 'k'>")
    assert run.status().state == "completed"
    assert app.blocking.get(double, "k").id == app.blocking.get(run.id).id == run.id
    assert [status.id for status in app.blocking.runs(tags={"a": "b"}, since=60)] == [run.id]
    assert app.blocking.run(double, 5) == 10
    assert "fanfold-blocking" in {thread.name for thread in threading.enumerate()}
    app.blocking.close()
    app.blocking.close()
    assert threading.active_count() == 1
    assert app.blocking.start(double, 6).result() == 12


def test_a_block_goes_on_with_what_was_left(app: App):
    with app.blocking as blocking:
        run = blocking.start(app.tasks["gated"], "x")
        with pytest.raises(TimeoutError):
            run.result(timeout=0.01)
        Path("gate").touch()
        assert run.result(timeout=LIMIT_S) == "x"
    assert run.result() == "x"
    assert [status.state for status in app.blocking.runs()] == ["completed"]


def test_children_and_runs_come_over_many_pages(app: App):
    with app.blocking as blocking:
        run = blocking.start(app.tasks["total"], 250)
        run.result()
        assert len(list(run.children())) == 251
        assert [child.name for child in run.children(state="failed")] == ["fail"]
        assert len(list(blocking.runs())) == 252
        assert next(blocking.runs(task="total")).id == run.id


def test_errors_are_those_of_the_async_names(app: App):
    with app.blocking as blocking:
        with pytest.raises(TaskFailed, match="no"):
            blocking.start(app.tasks["fail"], "no").result()
        with pytest.raises(NotFound):
            blocking.get(99)
        with pytest.raises(InvalidInput):
            blocking.start(app.tasks["double"], "four")
        with pytest.raises(InvalidInput):
            next(blocking.runs(state="lost"))


def test_a_run_is_cancelled(app: App):
    run = app.blocking.start(app.tasks["gated"], "x")
    run.cancel()
    with pytest.raises(TaskCancelled):
        run.result()


def test_many_threads_share_one_engine(app: App):
    with ThreadPoolExecutor(20) as pool:
        found = list(pool.map(lambda n: app.blocking.start(app.tasks["double"], n).result(), range(100)))
    assert found == [2 * n for n in range(100)]
    assert [thread.name for thread in threading.enumerate()].count("fanfold-blocking") == 1


@runs_in_a_loop
async def test_an_app_at_work_is_used_from_another_thread():
    app = make()

    def ask() -> tuple[int, list[int]]:
        run = app.blocking.start(app.tasks["double"], 4)
        return run.result(), [status.id for status in app.blocking.runs()]

    async with app:
        assert await asyncio.to_thread(ask) == (8, [1])
        assert "fanfold-blocking" not in {thread.name for thread in threading.enumerate()}


@runs_in_a_loop
async def test_on_the_engines_own_thread_it_would_wait_for_ever_and_is_refused():
    app = make()
    double = app.tasks["double"]
    async with app:
        run = await app.start(double, 4)
        for call in (
            lambda: app.blocking.start(double, 4),
            lambda: app.blocking.get(run.id),
            lambda: list(app.blocking.runs()),
            lambda: BlockingRun(run, app.blocking).result(),
        ):
            with pytest.raises(NotAllowed, match="use the async name with `await` there"):
                call()


def test_an_app_whose_loop_stands_still_is_not_waited_for():
    app = make()
    loop = asyncio.new_event_loop()
    loop.run_until_complete(app.__aenter__())
    outcome: list[str] = []

    def ask() -> None:
        try:
            app.blocking.start(app.tasks["double"], 4)
        except NotAllowed as error:
            outcome.append(str(error))

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join(LIMIT_S)
    assert "on a loop that is not running now" in outcome[0]
    loop.run_until_complete(app.__aexit__(None, None, None))
    loop.close()


def test_a_cell_may_block_while_the_engine_works_in_its_thread(app: App):
    async def cell() -> int:
        return app.blocking.start(app.tasks["double"], 4).result()

    assert asyncio.run(cell()) == 8


def test_who_waits_when_it_is_closed_hears_of_it(app: App):
    run = app.blocking.start(app.tasks["double"].options(delay=3600), 4)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(run.result)
        eventually(lambda: run.id in app._session.engine._waiters)
        app.blocking.close()
        with pytest.raises(NotAllowed, match="the app was closed while this waited; what was recorded goes on"):
            waiting.result(timeout=LIMIT_S)


@runs_in_a_loop
async def test_app_run_in_another_thread_hears_of_the_end_of_the_app():
    app = make()
    async with app:
        waiting = asyncio.ensure_future(asyncio.to_thread(lambda: app.run(app.tasks["double"].options(delay=3600), 4)))
        while not app._session.engine._waiters:  # noqa: ASYNC110 - the engine tells nobody who waits
            await asyncio.sleep(0)
    with pytest.raises(NotAllowed, match=r"closed while app\.run waited"):
        await waiting


SCRIPT = """
from tests.app.program import make
app = make()
runs = [app.blocking.start(app.tasks["half"], n) for n in range(20)]
print(sum(run.result() for run in runs))
"""


def test_a_script_ends_by_itself_and_in_order():
    root = str(Path(__file__).parents[2])
    for _ in range(2):
        ended = subprocess.run(
            [sys.executable, "-c", SCRIPT], env={"PYTHONPATH": root}, capture_output=True, text=True, check=False,
            timeout=LIMIT_S,
        )  # fmt: skip
        assert (ended.stdout, ended.stderr, ended.returncode) == ("90\n", "", 0)
    assert not Path("runs.db-wal").exists() or Path("runs.db-wal").stat().st_size == 0
