"""Runs from outside: started, found again, looked at, waited for and cancelled."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from fanfold import App, KeyConflict, Run, TaskCancelled, TaskFailed, current
from fanfold.errors import InvalidInput, NotAllowed, NotFound, StoreUnavailable, UnknownTask
from tests.app.program import make, open_gate, runs_in_a_loop

app = make()
double, half, fail, gated, total = (app.tasks[name] for name in ("double", "half", "fail", "gated", "total"))


@runs_in_a_loop
async def test_a_run_is_started_and_gives_its_result():
    async with app:
        run = await app.start(double, 4)
        assert isinstance(run, Run)
        assert (await run.result(), run.key) == (8, None)
        assert repr(run) == f"<Run {run.id} of double>"


@runs_in_a_loop
async def test_a_run_is_found_again_by_id_and_by_key():
    async with app:
        run = await app.start(double.options(key="k"), 4)
        assert [(await app.get(run.id)).key, (await app.get(double, "k")).id, run.key] == ["k", run.id, "k"]
        assert repr(await app.get(double, key="k")) == f"<Run {run.id} of double, key 'k'>"
        assert await (await app.get(double, "k")).result() == 8


@runs_in_a_loop
async def test_the_same_key_and_input_is_the_same_run_and_another_input_a_conflict():
    async with app:
        first, again = [await app.start(double.options(key="k"), 4) for _ in range(2)]
        assert first.id == again.id
        with pytest.raises(KeyConflict, match=f"taken by run {first.id}") as raised:
            await app.start(double.options(key="k"), 5)
        assert raised.value.run_id == first.id
        assert (await app.start(half.options(key="k"), 5)).id != first.id


@runs_in_a_loop
async def test_what_is_not_there_is_not_found_and_the_message_says_what_to_do():
    async with app:
        with pytest.raises(NotFound, match="no run 77 in this store; `fanfold runs list`"):
            await app.get(77)
        with pytest.raises(NotFound, match=r"no run of double has the key 'k' in sqlite:///runs.db; app.start\(double"):
            await app.get(double, "k")


@pytest.mark.parametrize("wrong", [("double", "k"), (7, "k"), (True,), (double,), (double, ""), ("12",)])
def test_a_run_is_asked_for_by_id_or_by_task_and_key(wrong):
    with pytest.raises(InvalidInput):
        asyncio.run(app.get(*wrong))


@runs_in_a_loop
async def test_a_status_has_all_that_is_known_of_a_run():
    async with app:
        run = await app.start(total.options(key="k", tags={"customer": "acme"}), 3)
        assert await run.result() == 6
        status = await run.status()
    assert (status.id, status.key, status.name, status.state) == (run.id, "k", "total", "completed")
    assert (status.input, status.output, status.error, status.attempt) == ({"n": 3}, 6, None, 1)
    assert (status.tags, status.progress) == ({"customer": "acme"}, None)
    assert status.created_at <= status.started_at <= status.finished_at
    counts = status.children
    assert (counts.spawned, counts.running, counts.completed, counts.failed, counts.cancelled) == (4, 0, 3, 1, 0)


@runs_in_a_loop
async def test_children_are_yielded_oldest_first_and_by_state():
    async with app:
        run = await app.start(total, 250)
        await run.result()
        children = [child async for child in run.children()]
        assert [child.id for child in children] == sorted(child.id for child in children)
        assert len(children) == 251
        (failed,) = [child async for child in run.children(state="failed")]
        assert (failed.name, failed.error["message"], failed.key) == ("fail", "no", None)
        assert [child async for child in run.children(state="cancelled")] == []
        with pytest.raises(InvalidInput, match=r"pending, running, .* not 'lost'"):
            await anext(run.children(state="lost"))


def test_children_of_a_large_family_are_walked_in_the_same_order(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("fanfold.store.queries.MOST_SORTED", 10)
    test_children_are_yielded_oldest_first_and_by_state()


@runs_in_a_loop
async def test_runs_are_listed_newest_first_over_pages():
    async with app:
        started = [await app.start(double, n) for n in range(230)]
        assert [status.id async for status in app.runs()] == [run.id for run in reversed(started)]


@runs_in_a_loop
async def test_runs_are_filtered_by_state_task_and_tags():
    async with app:
        acme = await app.start(double.options(tags={"customer": "acme", "tier": "gold"}), 1)
        acne = await app.start(half.options(tags={"customer": "Acme"}), 1)
        bad = await app.start(fail.options(tags={"tier": '"customer":"acme"'}), "x")
        for run in (acme, acne):
            await run.result()
        with pytest.raises(TaskFailed):
            await bad.result()

        async def ids(**wanted):
            return [status.id async for status in app.runs(**wanted)]

        assert await ids(state="failed") == [bad.id]
        assert await ids(task=half) == await ids(task="half") == [acne.id]
        assert await ids(tags={"customer": "acme"}) == [acme.id]
        assert await ids(tags={"customer": "acme", "tier": "gold"}) == [acme.id]
        assert await ids(tags={"customer": "acme", "tier": "lead"}) == []
        assert await ids(state="completed", task="fail") == []
        with pytest.raises(InvalidInput, match="a state is one of pending"):
            await ids(state="done")


@runs_in_a_loop
async def test_tags_of_nothing_but_signs_are_told_apart():
    async with app:
        run = await app.start(double.options(tags={"x": ":", ",": "b"}), 1)
        assert [status.id async for status in app.runs(tags={",": "b"})] == [run.id]
        assert [status.id async for status in app.runs(tags={":": ","})] == []


@runs_in_a_loop
async def test_since_is_a_datetime_or_a_time_ago():
    async with app:
        run = await app.start(double, 1)
        now = datetime.now(UTC)
        recent = (60, 60.5, timedelta(hours=1), now - timedelta(minutes=1), datetime.now() - timedelta(minutes=1))  # noqa: DTZ005 - local time is allowed
        for since in (*recent, float("inf")):
            assert [status.id async for status in app.runs(since=since)] == [run.id]
        for since in (-60, now + timedelta(minutes=1)):
            assert [status.id async for status in app.runs(since=since)] == []
        with pytest.raises(InvalidInput, match="since"):
            await anext(app.runs(since="yesterday"))


@runs_in_a_loop
async def test_a_wait_times_out_and_the_run_goes_on():
    async with app:
        run = await app.start(gated, "x")
        with pytest.raises(TimeoutError, match=rf"run {run.id} of gated has not ended after 0.01 s; it goes on"):
            await run.result(timeout=0.01)
        with pytest.raises(TimeoutError):
            await run.result(timeout=timedelta(milliseconds=1))
        open_gate()
        assert await run.result() == "x"


@runs_in_a_loop
async def test_a_cancel_is_recorded_when_it_returns_and_ends_the_run():
    async with app:
        run = await app.start(gated, "x")
        await run.cancel()
        with pytest.raises(TaskCancelled):
            await run.result()
        assert (await run.status()).state == "cancelled"


@runs_in_a_loop
async def test_a_cancel_of_a_run_that_has_ended_changes_nothing():
    async with app:
        run = await app.start(double, 2)
        await run.result()
        before = await run.status()
        await run.cancel()
        assert await run.status() == before
    await run.cancel()


@runs_in_a_loop
async def test_a_cancel_without_an_engine_names_the_way():
    async with app:
        run = await app.start(gated.options(delay=3600), "x")
    with pytest.raises(NotAllowed, match=f"run {run.id} cannot be cancelled from here.* `async with app`"):
        await run.cancel()
    async with app:
        await run.cancel()
        assert (await run.status()).state == "cancelled"


@runs_in_a_loop
async def test_looking_needs_no_engine():
    async with app:
        run = await app.start(total.options(key="k"), 2)
        await run.result()
    assert (await run.status()).state == "completed"
    assert await (await app.get(total, "k")).result() == 2
    assert [status.name async for status in app.runs(state="failed")] == ["fail"]
    assert len([child async for child in run.children()]) == 3
    failed = await app.get((await anext(app.runs(task=fail))).id)
    with pytest.raises(TaskFailed, match="no"):
        await failed.result()


@runs_in_a_loop
async def test_a_result_is_waited_for_without_an_engine_until_another_one_has_it():
    async with app:
        run = await app.start(double.options(delay=3600), 2)
    with pytest.raises(TimeoutError):
        await run.result(timeout=0.01)
    other = make()
    waiting = asyncio.ensure_future(run.result())
    await asyncio.sleep(0)
    async with other:
        await (await other.get(run.id)).cancel()
        with pytest.raises(TaskCancelled):
            await waiting


@runs_in_a_loop
async def test_a_store_in_memory_is_looked_at_while_the_app_is_at_work():
    memory = make(store="sqlite://")
    async with memory:
        run = await memory.start(memory.tasks["double"], 2)
        assert await run.result() == 4
        assert [status.id async for status in memory.runs()] == [run.id]
    with pytest.raises(StoreUnavailable, match="in memory"):
        await run.status()


@runs_in_a_loop
async def test_a_start_needs_an_app_at_work():
    with pytest.raises(NotAllowed, match=r"inside `async with app`, or app.blocking.start"):
        await app.start(double, 1)
    async with app:
        with pytest.raises(NotAllowed, match="at work already"):
            await app.__aenter__()
        with pytest.raises(UnknownTask, match="another app"):
            await app.start(make().tasks["double"], 1)


@runs_in_a_loop
async def test_a_run_of_a_task_that_is_not_registered_here_shows_its_status_alone():
    async with app:
        run = await app.start(double, 4)
        await run.result()
    found = await App(store=app.store).get(run.id)
    assert (await found.status()).output == 8
    with pytest.raises(UnknownTask, match=f"run {run.id} is of double, which is not registered"):
        await found.result()


@runs_in_a_loop
async def test_an_app_at_work_is_used_from_other_loops():
    async with app:
        run = await app.start(double.options(key="k"), 4)

        async def elsewhere():
            again = await app.start(double.options(key="k"), 4)
            return again.id, await again.result(), (await run.status()).name, [each.id async for each in app.runs()]

        assert await asyncio.to_thread(lambda: asyncio.run(elsewhere())) == (run.id, 8, "double", [run.id])


@runs_in_a_loop
async def test_who_waits_while_the_app_stops_waits_for_the_next_one():
    async with app:
        run = await app.start(double.options(delay=3600), 1)
        waiting = asyncio.ensure_future(run.result())
        await run.status()
    assert not waiting.done()
    async with app:
        await run.cancel()
        with pytest.raises(TaskCancelled):
            await waiting


@runs_in_a_loop
async def test_what_a_run_says_of_its_progress_is_in_its_status():
    telling = App("telling", store=app.store)
    gate = asyncio.Event()

    @telling.task
    async def tells() -> None:
        current().report_progress(40, total=100, message="page 4")
        await gate.wait()

    async with telling:
        run = await telling.start(tells)
        while (progress := (await run.status()).progress) is None:  # noqa: ASYNC110 - durable soon after, says its docstring
            await asyncio.sleep(0)
        assert progress == {"done": 40, "total": 100, "message": "page 4"}
        gate.set()
        await run.result()
    assert (await run.status()).progress == progress
