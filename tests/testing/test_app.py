"""TestApp: memory, a clock that skips, stand-ins for tasks, and crashes at will."""

import asyncio
from datetime import timedelta

import pytest

from fanfold import App, KeyConflict, TaskFailed, current, sleep
from fanfold.errors import InvalidInput, NotAllowed, Quarantined, UnknownTask
from fanfold.testing import Stuck, TestApp

app = App("under test", store="sqlite:///never-made.db")


@app.task
async def square(n: int) -> int:
    return n * n


@app.task
def cube(n: int) -> int:
    return n**3


@app.task
async def never(n: int) -> int:
    await asyncio.get_running_loop().create_future()
    return n


@app.task
async def asks_later() -> int:
    return await square.options(delay=60)(2)


@app.workflow
async def sum_of_squares(n: int) -> int:
    return sum(await asyncio.gather(*(square(i) for i in range(n))))


@app.workflow
async def a_year(n: int) -> int:
    total = 0
    for month in range(12):
        await sleep(timedelta(days=30))
        total += await cube(month) * n
    return total


@app.workflow
async def naps() -> int:
    await asyncio.sleep(10)
    return await square(4)


@app.workflow
async def locked_out() -> None:
    await asyncio.Event().wait()


def inside(test):
    """Run an async function of one TestApp on a loop of its own."""

    def run():
        async def main():
            async with TestApp(app) as under_test:
                await test(under_test)

        asyncio.run(main())

    run.__name__ = test.__name__
    return run


@inside
async def test_a_run_gives_its_result(test: TestApp):
    assert await test.run(sum_of_squares, 10) == 285
    assert await test.run(cube, 3) == 27


@inside
async def test_a_year_of_sleep_takes_no_time(test: TestApp):
    before = test.clock.now_ms()
    assert await test.run(a_year, 2) == 2 * sum(month**3 for month in range(12))
    assert timedelta(milliseconds=test.clock.now_ms() - before) >= timedelta(days=360)


@inside
async def test_time_stands_still_until_it_is_moved(test: TestApp):
    run = await test.start(naps)
    await test.advance(9.999)
    assert (await run.status()).state != "completed"
    await test.advance(0.001)
    assert await run.result() == 16


@inside
async def test_a_run_goes_on_after_a_crash(test: TestApp):
    run = await test.start(a_year, 1)
    await test.advance(timedelta(days=100))
    await test.crash()
    assert await test.result(run) == sum(month**3 for month in range(12))


@inside
async def test_who_waits_for_a_result_gets_it_beyond_a_crash(test: TestApp):
    run = await test.start(naps)
    waiting = asyncio.ensure_future(run.result())
    await test.settle()
    await test.crash()
    await test.advance(60)
    assert await waiting == 16


def commits_of_a_run() -> int:
    async def main() -> int:
        async with TestApp(app) as test:
            await test.run(naps)
            return test.commits

    return asyncio.run(main())


@pytest.mark.parametrize("where", ["crash_at", "crash_before"])
def test_a_crash_at_any_commit_changes_no_result(where: str):
    async def main(commit: int) -> None:
        async with TestApp(app, **{where: commit}) as test:
            assert await test.run(naps) == 16

    for commit in range(1, commits_of_a_run() + 1):
        asyncio.run(main(commit))


def test_a_body_runs_again_when_the_crash_came_before_its_result():
    runs: list[int] = []

    async def count(n: int) -> int:
        runs.append(n)
        return n

    async def main(**crash: int) -> None:
        async with TestApp(app, **crash) as test:
            test.stub(square, count)
            assert await test.run(square, 7) == 7

    # The first commit looks for something to claim, the second inserts the root, the third records its result.
    asyncio.run(main(crash_before=3))
    assert runs == [7, 7]
    asyncio.run(main(crash_at=3))
    assert runs == [7, 7, 7]


@inside
async def test_a_body_that_is_at_work_in_three_crashes_is_quarantined(test: TestApp):
    run = await test.start(never, 1)
    waiting = await test.start(square.options(delay=60), 2)
    await test.settle()
    for _ in range(3):
        assert (await run.status()).state != "failed"
        await test.crash()
    assert (await run.status()).state == "failed"
    with pytest.raises(TaskFailed, match="3 processes died in a row") as raised:
        await test.result(run)
    assert raised.value.caused_by(Quarantined)
    assert await test.result(waiting) == 4  # it had not begun


@inside
async def test_a_body_that_gets_on_between_crashes_is_not_quarantined(test: TestApp):
    gates = [asyncio.Event() for _ in range(5)]
    lives = iter(gates)

    async def reports(n: int) -> int:
        current().report_progress(n)
        await next(lives).wait()
        return n

    test.stub(never, reports)
    run = await test.start(never, 7)
    for _ in range(4):
        await test.settle()
        await test.crash()
    gates[-1].set()
    assert await test.result(run) == 7


@inside
async def test_a_body_that_a_crash_found_waiting_for_a_child_is_not_blamed(test: TestApp):
    run = await test.start(asks_later)
    for _ in range(4):
        await test.crash()
    assert await test.result(run) == 4


@inside
async def test_a_stand_in_takes_the_place_of_a_body(test: TestApp):
    test.stub(square, lambda n: n + 1)
    assert await test.run(sum_of_squares, 3) == 6
    with pytest.raises(InvalidInput, match="async def"):
        test.stub(naps, lambda: 1)


@inside
async def test_a_failing_stand_in_fails_the_run(test: TestApp):
    async def fail(n: int) -> int:
        raise ValueError(f"no {n}")

    test.stub(square, fail)
    with pytest.raises(TaskFailed, match="no 0"):
        await test.run(square, 0)


@inside
async def test_the_clock_may_be_moved_while_a_body_waits(test: TestApp):
    await test.start(never, 1)
    run = await test.start(naps)
    await test.advance(timedelta(hours=1))
    assert await run.result() == 16


@inside
async def test_a_run_that_nothing_can_wake_is_reported(test: TestApp):
    with pytest.raises(Stuck, match="no timer"):
        await test.run(locked_out)


@inside
async def test_a_key_holds_over_a_crash(test: TestApp):
    first = await test.start(square.options(key="k"), 3)
    await test.crash()
    again = await test.start(square.options(key="k"), 3)
    assert again.id == first.id
    with pytest.raises(KeyConflict):
        await test.start(square.options(key="k"), 4)


def test_a_test_app_works_inside_its_block_only():
    other = App("other")

    async def main() -> None:
        test = TestApp(other)
        with pytest.raises(NotAllowed):
            await test.settle()
        async with test:
            with pytest.raises(UnknownTask):
                await test.start(square, 1)
            with pytest.raises(NotAllowed):
                await test.__aenter__()

    asyncio.run(main())
