"""What groups do about members that fail: which errors their owners meet, how many may fail, and what is counted."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest

from fanfold import App, GroupFailed, KeyConflict, NotAllowed, Retry, TaskFailed, UnknownTask, open_group
from fanfold.model import lifecycle
from fanfold.testing import TestApp
from tests.engine.desk import on_a_loop

app = App("failures")


class Odd(ValueError):
    pass


@app.task
async def picky(n: int) -> int:
    await asyncio.sleep(0)
    if n % 10 == 7:
        raise OSError(f"no {n}")
    if n % 10 == 3:
        raise Odd(f"odd {n}")
    return 2 * n


@app.workflow
async def judged(numbers: list[int], most: int | str | None) -> tuple[str, int]:
    try:
        outcomes = await picky.map(numbers, failures="collect", max_failures=most)
    except GroupFailed as failed:
        return str(failed.summary), -len(failed.exceptions)
    return "", sum(outcome.ok for outcome in outcomes)


@pytest.mark.parametrize("at", [0, *range(1, 9)])
@on_a_loop
async def test_a_group_fails_once_more_members_failed_than_max_failures(at: int):
    async with TestApp(app, crash_at=at or ()) as test:
        assert await test.run(judged, [1, 7, 17, 2], 2) == ("", 2)
        said, failures = await test.run(judged, [1, 7, 17, 27, 2], 2)
    assert failures == -3
    assert "3 of 5 failed" in said


@pytest.mark.parametrize(
    ("percent", "is_over"), [("50%", False), ("49.9%", True), ("0%", True), ("100%", False), ("25%", True)]
)
@on_a_loop
async def test_a_percentage_of_failures_is_judged_by_the_number_of_items(percent: str, *, is_over: bool):
    async with TestApp(app) as test:
        said, count = await test.run(judged, [1, 7, 17, 2], percent)
    assert (count < 0) is is_over
    assert bool(said) is is_over


@on_a_loop
async def test_no_failures_at_all_are_allowed_by_max_failures_0():
    async with TestApp(app) as test:
        assert (await test.run(judged, [1, 7], 0))[1] == -1
        assert await test.run(judged, [1, 2], 0) == ("", 2)


@on_a_loop
async def test_a_failed_group_shows_at_most_a_hundred_failures_and_counts_all():
    async with TestApp(app) as test:
        said, failures = await test.run(judged, [10 * n + 7 for n in range(250)], 200)
    assert -100 <= failures < 0
    assert " of 250 failed" in said


@pytest.mark.parametrize("at", [0, *range(1, 9)])
@on_a_loop
async def test_except_star_splits_a_failed_group_by_what_its_members_raised(at: int):
    @app.workflow(name="splits")
    async def splits() -> list[str]:
        caught: list[str] = []
        try:
            await picky.map([3, 7], failures="collect", max_failures=0)
        except* TaskFailed as failed:
            found = failed.split(lambda error: isinstance(error, TaskFailed) and error.caused_by(ValueError))
            caught += [f"{type(part).__name__} of {cast('GroupFailed', part).summary.failed}" for part in found if part]
        return caught

    async with TestApp(app, crash_at=at or ()) as test:
        said = await test.run(splits)
    assert said in (["GroupFailed of 1"], ["GroupFailed of 2"] * 2)


@on_a_loop
async def test_outcomes_say_index_key_and_error():
    @app.workflow(name="outcomes")
    async def outcomes() -> list[tuple[int | None, str | None, bool, int | None, str]]:
        found = await picky.map([5, 7, 3], failures="collect", key=lambda n: f"n{n}")
        return [(o.index, o.key, o.ok, o.value, o.error.error_type if o.error else "") for o in found]

    async with TestApp(app) as test:
        assert await test.run(outcomes) == [
            (0, "n5", True, 10, ""),
            (1, "n7", False, None, "OSError"),
            (2, "n3", False, None, "Odd"),
        ]


@on_a_loop
async def test_members_that_fail_are_tried_again_as_their_task_says():
    app = App("tries")
    tries: list[int] = []

    @app.task(retry=Retry(max_attempts=3, delay=10))
    async def shaky(n: int) -> int:
        tries.append(n)
        if tries.count(n) < 3 and n > 1:
            raise OSError
        return n

    @app.workflow
    async def all_of() -> list[int]:
        return await shaky.map([1, 2, 3])

    async with TestApp(app) as test:
        assert await test.run(all_of) == [1, 2, 3]
    assert sorted(tries) == [1, 2, 2, 2, 3, 3, 3]


@on_a_loop
async def test_settings_of_the_calls_reach_the_members():
    app = App("settings")

    @app.task
    async def plain(n: int) -> int:
        return n

    @app.workflow
    async def all_of() -> list[int]:
        chosen = plain.options(queue="slow", priority=7, delay=60, tags={"a": "b"})
        async with open_group() as group:
            group.spawn(plain.options(tags={"c": "d"}), 3)
            return [*await chosen.map([1, 2]), *await group]

    async with TestApp(app) as test:
        run = await test.start(all_of)
        await test.advance(59)
        assert (await run.status()).state != lifecycle.COMPLETED
        assert await test.result(run) == [1, 2, 3]
        opened, mapped = await test.queries.tree_level(run.id, 0, 9)
        (other,) = await test.queries.tree_level(opened.id, 0, 9)
        members = await test.queries.tree_level(mapped.id, 0, 9)
    assert [member.tags for member in members] == [{"a": "b"}] * 2
    assert other.tags == {"c": "d"}


@pytest.mark.parametrize("at", [0, *range(1, 8)])
@on_a_loop
async def test_two_items_with_one_key_and_input_are_one_member(at: int):
    @app.workflow(name="doubled")
    async def doubled() -> list[int]:
        return await picky.map([5, 1, 5], key=str)

    async with TestApp(app, crash_at=at or ()) as test:
        assert await test.run(doubled) == [10, 2]


@pytest.mark.parametrize("at", [0, *range(1, 12)])
@on_a_loop
async def test_keyed_members_are_found_again_after_a_crash(at: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("fanfold.worker.members.WINDOW", 2)

    @app.workflow(name="keyed")
    async def keyed() -> list[int]:
        return await picky.map([5, 1, 4, 2, 9, 1, 1, 1, 0], key=str)

    async with TestApp(app, crash_at=at or ()) as test:
        assert await test.run(keyed) == [10, 2, 8, 4, 18, 0]


@on_a_loop
async def test_one_key_for_two_inputs_fails_the_map_and_a_spawn():
    @app.workflow(name="torn")
    async def torn() -> list[str]:
        said: list[str] = []
        try:
            await picky.map([5, 1], key=lambda _: "one")
        except GroupFailed as failed:
            said.append(failed.message)
        async with open_group() as group:
            group.spawn(picky.options(key="one"), 1)
            group.spawn(picky.options(key="one"), 1)
            try:
                group.spawn(picky.options(key="one"), 2)
            except KeyConflict as conflict:
                said.append(str(conflict))
            said.append(str(await group))
        return said

    async with TestApp(app) as test:
        items, spawn, results = await test.run(torn)
    assert items.startswith("the items of picky.map raised KeyConflict: key 'one'")
    assert spawn.startswith("key 'one' of picky is taken")
    assert results == "[2]"


async def _awaited(group: Any) -> Any:
    return await group


async def _folded(group: Any) -> Any:
    return await group.fold(max, 0)


async def _first(group: Any) -> Any:
    async for outcome in group:
        return outcome
    return None


@pytest.mark.parametrize("close", [_awaited, _folded, _first])
@on_a_loop
async def test_a_group_that_is_read_is_closed_for_its_owner(close: Callable[[Any], Awaitable[Any]]):
    @app.workflow(name="closed")
    async def closed() -> str:
        group = open_group()
        group.spawn(picky, 1)
        await close(group)
        try:
            group.spawn(picky, 2)
        except NotAllowed as error:
            return str(error)
        return ""

    async with TestApp(app) as test:
        assert "is closed" in await test.run(closed)


@on_a_loop
async def test_a_task_of_another_app_is_no_member():
    other = App("other")

    @other.task
    async def foreign(n: int) -> int:
        return n

    @app.workflow(name="borders")
    async def borders() -> int:
        found = 0
        for call in (lambda: foreign.map([1]), lambda: open_group().spawn(foreign, 1)):
            try:
                call()
            except UnknownTask:
                found += 1
        return found

    async with TestApp(app) as test:
        assert await test.run(borders) == 2


@on_a_loop
async def test_items_that_exit_fail_their_group_and_nothing_else():
    @app.workflow(name="exits")
    async def exits() -> str:
        def items() -> Any:
            yield 1
            raise SystemExit(3)

        try:
            await picky.map(items())
        except GroupFailed as failed:
            return failed.message
        return ""

    async with TestApp(app) as test:
        assert await test.run(exits) == "the items of picky.map raised SystemExit: 3"
        assert await test.run(judged, [1], None) == ("", 1)
