"""Groups that are opened, folded, iterated over: as nodes of workflows, as steps of tasks, on the loop and in threads.

A node says how the group is made (`policy`: failures, most failures, concurrency, whether results are kept), its
members, and what is done with it. `grown.py` says what must come of it.
"""

import asyncio
from collections.abc import Iterable
from typing import Any

from fanfold import FanfoldError, GroupFailed, Outcome, TaskFailed, current, open_group, sleep
from fanfold.worker.context import TaskContext
from fanfold.worker.group import Group
from tests.simulation import leaves
from tests.simulation.grown import WEIGHT, listed
from tests.simulation.leaves import sync_work, work
from tests.simulation.members import NOTHING_YET, TASKS, count_up, pauses, picky_count, spawn_all
from tests.simulation.values import FAILED, KNOWN


def settings_of(policy: list[Any]) -> dict[str, Any]:
    """Return the keyword arguments of a policy."""
    failures, most, concurrency, keeps = policy
    most = {} if most is None else {"max_failures": most}
    return {"failures": failures, "concurrency": concurrency, "keep_results": keeps, **most}


# Async: in workflows and tasks ----------------------------------------------------------------------------------------


async def opened(policy: list[Any], how: str, *members: Any) -> int:
    """Open a group, add members at once or little by little, and take what comes."""
    group = open_group(**settings_of(policy))
    halves = [members[: len(members) // 2], members[len(members) // 2 :]]
    waits = pauses(len(str(members)), 2)
    for part, wait_s in zip(halves, waits, strict=True):
        spawn_all(group, list(part))
        if wait_s:
            await asyncio.sleep(wait_s)
    return await _taken(group, how, len(members))


async def within(policy: list[Any], how: str, *members: Any) -> int:
    """Do so in an `async with`."""
    async with open_group(**settings_of(policy)) as group:
        spawn_all(group, list(members))
        came = await _taken(group, how, len(members)) if how != "end" else 0
    return _ended(group) if how == "end" else came


async def mapped(policy: list[Any], how: str, name: str, is_keyed: bool, *items: Any) -> int:  # noqa: FBT001
    """Start a group with a policy over items."""
    return await _taken(_map(policy, name, items, is_keyed=is_keyed), how, len(items))


async def regrown(x: int, until: int, how: str, *members: Any) -> int:
    """Have a group that fails in the first attempts of its owner: what has completed is not run again."""
    group = open_group()
    spawn_all(group, [*members, [None, ["regrow", x, until]]])
    return await _taken(group, how, len(members) + 1)


async def cancel_opened(after_s: float, policy: list[Any], how: str, *members: Any) -> int:
    """Cancel what waits for a group, or the group itself."""
    if how == "group":
        group = open_group(**settings_of(policy))
        spawn_all(group, list(members))
        if after_s:
            await asyncio.sleep(after_s)
        if group.cancel():
            await sync_work(1)
        return KNOWN
    try:
        async with asyncio.timeout(after_s):
            await within(policy, how, *members)
    except (TimeoutError, FanfoldError, ExceptionGroup):
        await work(2)
    return KNOWN


async def spawn_opened(policy: list[Any], how: str, *members: Any) -> int:
    """Leave a group to itself, or a fold of it."""
    return _left(policy, how, members)


async def cut_short(policy: list[Any], most: int, *members: Any) -> int:
    """Stop in the midst of the outcomes."""
    async with open_group(**settings_of(policy)) as group:
        spawn_all(group, list(members))
        async for outcome in group:
            await work(outcome.index or 0)
            most -= 1
            if most <= 0:
                break
    return KNOWN


def _map(policy: list[Any], name: str, items: Iterable[Any], *, is_keyed: bool) -> Group[Any, Any]:
    settings = settings_of(policy)
    if is_keyed:
        settings["key"] = _named
    return TASKS[name].starmap((tuple(item) for item in items), **settings)


def _named(item: tuple[Any, ...]) -> str:
    return "-".join(map(str, item))


async def _taken(group: Group[Any, Any], how: str, own: int) -> int:
    try:
        if how != "list":
            return await READERS[how](group)
        results = await group
    except GroupFailed as failed:
        _check_failed(failed)
        raise
    _ended(group)
    return listed(_flat(results), own)


async def _fold(group: Group[Any, Any]) -> int:
    return _weighed(await group.fold(count_up, NOTHING_YET))


async def _picky_fold(group: Group[Any, Any]) -> int:
    return _weighed(await group.fold(picky_count, NOTHING_YET))


async def _two_folds(group: Group[Any, Any]) -> int:
    """Fold twice: both take all results, in the same order."""
    first, second = await asyncio.gather(group.fold(count_up, NOTHING_YET), group.fold(count_up, [5, 0, 1]))
    if (first[0] + 5, *first[1:]) != tuple(second):
        leaves.bodies.violate(f"two folds of one group came to {first} and {second}")
    return _weighed(first)


async def _pages(group: Group[Any, Any]) -> int:
    """Iterate, with a call that depends on what came."""
    places, values = [], []
    async for outcome in group:
        places.append(outcome.index)
        values.append(_value(outcome))
        if outcome.index is None or outcome.index % 3 == 0:
            await work(abs(values[-1]) + len(values))
    return _seen(places, values)


async def _pages_beside(group: Group[Any, Any]) -> int:
    """Iterate beside a sleep and a call."""
    came, _, _ = await asyncio.gather(_pages(group), _tick(), work(3, 20))
    return came


async def _tick() -> None:
    for _ in range(3):
        await (asyncio.sleep(0.02) if isinstance(current(), TaskContext) else sleep(0.02))
        await work(4)


async def _fold_and_pages(group: Group[Any, Any]) -> int:
    folded, came = await asyncio.gather(group.fold(count_up, NOTHING_YET), _pages(group))
    await work(folded[0])
    return came


READERS: dict[str, Any] = {
    "fold": _fold, "picky fold": _picky_fold, "two folds": _two_folds, "pages": _pages, "pages beside": _pages_beside,
    "fold and pages": _fold_and_pages,
}  # fmt: skip


# In a thread ----------------------------------------------------------------------------------------------------------


def sync_opened(policy: list[Any], how: str, *members: Any) -> int:
    group = open_group(**settings_of(policy))
    spawn_all(group, list(members))
    return _sync_taken(group, how, len(members))


def sync_within(policy: list[Any], how: str, *members: Any) -> int:
    with open_group(**settings_of(policy)) as group:
        spawn_all(group, list(members))
        came = _sync_taken(group, how, len(members)) if how != "end" else 0
    return _ended(group) if how == "end" else came


def sync_mapped(policy: list[Any], how: str, name: str, is_keyed: bool, *items: Any) -> int:  # noqa: FBT001
    return _sync_taken(_map(policy, name, items, is_keyed=is_keyed), how, len(items))


def sync_regrown(x: int, until: int, how: str, *members: Any) -> int:
    group = open_group()
    spawn_all(group, [*members, [None, ["regrow", x, until]]])
    return _sync_taken(group, how, len(members) + 1)


def _sync_taken(group: Group[Any, Any], how: str, own: int) -> int:
    if how == "list":
        return listed(_flat(group.result()), own)
    return _weighed(group.fold(picky_count if how == "picky fold" else count_up, NOTHING_YET).result())


# Both -----------------------------------------------------------------------------------------------------------------


def _left(policy: list[Any], how: str, members: Iterable[Any]) -> int:
    group = open_group(**settings_of(policy))
    spawn_all(group, list(members))
    if how == "fold":
        group.fold(count_up, NOTHING_YET)
    return KNOWN


def _value(outcome: Outcome[Any]) -> int:
    return outcome.value if outcome.ok and outcome.value is not None else FAILED


def _flat(results: list[Any]) -> list[int]:
    return [_value(result) if isinstance(result, Outcome) else result for result in results]


def _weighed(folded: list[int]) -> int:
    return folded[0] * WEIGHT + folded[1]


def _seen(places: list[int | None], values: list[int]) -> int:
    """Return the sum of what pages have brought; each owner's member comes once."""
    own = [place for place in places if place is not None]
    if sorted(own) != list(range(len(own))):
        leaves.bodies.violate(f"pages brought the members {places}")
    return len(values) * WEIGHT + sum(values)


def _ended(group: Group[Any, Any]) -> int:
    """Return how many members completed and failed, as the summary has it."""
    summary = group.summary
    counted = sum(kind.count for kind in summary.errors) + summary.other
    if counted != summary.failed or summary.completed + summary.failed + summary.cancelled != summary.spawned:
        leaves.bodies.violate(f"a summary does not add up: {summary!r}")
    return summary.completed * WEIGHT + summary.failed


def _check_failed(failed: GroupFailed) -> None:
    if not all(isinstance(error, TaskFailed) for error in failed.exceptions):
        leaves.bodies.violate(f"a group failed with {failed.exceptions}")


NODES: dict[str, Any] = {
    function.__name__: function
    for function in (opened, within, mapped, cancel_opened, spawn_opened, cut_short)
}  # fmt: skip
STEPS: dict[str, Any] = NODES | {"regrown": regrown}
SYNC_STEPS: dict[str, Any] = {
    "opened": sync_opened, "within": sync_within, "mapped": sync_mapped, "regrown": sync_regrown,
    "spawn_opened": lambda policy, how, *members: _left(policy, how, members),
}  # fmt: skip
