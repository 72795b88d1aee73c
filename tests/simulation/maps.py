"""Groups in workflows, as nodes of random programs: `map`, `starmap` of leaves, of tasks with children, of workflows.

Their members get ids that are not in the order of their positions: nothing may rely on that.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from random import Random
from typing import Any

from fanfold import GroupFailed, TaskFailed
from fanfold.model.run import NewRun
from fanfold.worker.members import Members
from tests.simulation import leaves
from tests.simulation.leaves import app, bomb, deaf, flaky, picky, poison, stubborn, sync_bomb, sync_work, tell, work
from tests.simulation.parents import configured
from tests.simulation.values import KNOWN, combine


class ShuffledMembers(Members):
    """The members of a group, a few of whose ids at a time are handed out in any order."""

    def __init__(self, group: NewRun, *rest: Any, take_id: Callable[[], int], **settings: Any) -> None:
        rng = Random(group.id)
        ids: list[int] = []

        def take() -> int:
            if not ids:
                ids.extend(take_id() for _ in range(rng.randint(1, 4)))
                rng.shuffle(ids)
            return ids.pop()

        super().__init__(group, *rest, take_id=take, **settings)


async def map_leaves(how: str, *pairs: Any) -> int:
    """Start a group of leaves in one of many ways, and wait for all."""
    return combine(await _decided(HOW[how](pairs)))


async def map_programs(*codes: Any) -> int:
    return combine(await _decided(app.tasks["program"].map(codes)))


async def map_tasks(how: str, most: int, delay_s: float, *codes: Any) -> int:
    return combine(await _decided(configured(how, most, delay_s).map(codes)))


async def map_broken(*pairs: Any) -> int:
    """Take items that raise in the end."""
    return combine(await _decided(work.starmap(_until_broken(pairs))))


async def map_refused(x: int) -> int:
    """Have members whose results the database refuses."""
    return len(await _decided(poison.map([x, x + 1])))


async def map_refused_items(x: int, place: int) -> int:
    """Have a member whose input the database refuses."""
    return combine(await tell.map([leaves.POISON if place == number else "" for number in range(x % 4 + 1 + place)]))


async def explode_map(x: int) -> int:
    """Have a member that kills the process. One alone: two would die by turns."""
    return combine(await (bomb, sync_bomb)[x % 2].map([x]))


async def cancel_map(after_s: float, *pairs: Any) -> int:
    return await _cancelled((work, stubborn, deaf)[len(pairs) % 3].starmap(iter(pairs)), after_s)


async def cancel_map_programs(after_s: float, *codes: Any) -> int:
    return await _cancelled(app.tasks["program"].map(codes), after_s)


async def spawn_map(*pairs: Any) -> int:
    """Leave a group to itself."""
    work.starmap(pairs)
    return KNOWN


async def spawn_map_programs(*codes: Any) -> int:
    app.tasks["program"].map(codes)
    return KNOWN


async def compensate_map(node: Any, *pairs: Any) -> int:
    try:
        return await app.tasks["program"](node)
    finally:
        await work.starmap(pairs)


async def _decided(handle: asyncio.Future[Any]) -> Any:
    """Return the results of a group; make a call that depends on how it failed, if it did."""
    try:
        return await handle
    except GroupFailed as failed:
        if not all(isinstance(error, TaskFailed) for error in failed.exceptions):
            leaves.bodies.violate(f"a group failed with {failed.exceptions}")
        await work(len(failed.exceptions) + len(str(failed.summary)))
        raise


async def _cancelled(handle: asyncio.Future[list[int]], after_s: float) -> int:
    if after_s:
        await asyncio.sleep(after_s)
    if handle.cancel():
        await sync_work(1)
    return KNOWN


def _until_broken(pairs: Iterable[Any]) -> Iterator[Any]:
    yield from pairs
    raise OSError("the items are gone")


HOW: dict[str, Callable[[Any], Any]] = {
    "starmap": work.starmap,
    "lazily": lambda pairs: work.starmap(tuple(pair) for pair in pairs),
    "later": lambda pairs: work.options(delay=0.02, priority=2).starmap(pairs),
    "in threads": lambda pairs: sync_work.map([x for x, _ in pairs]),
    "picky": picky.starmap,
    "retried": lambda pairs: flaky.starmap((x, fails % 3) for x, fails in pairs),
}
NODES: dict[str, Any] = {
    function.__name__: function
    for function in (
        map_leaves, map_programs, map_tasks, map_broken, map_refused, map_refused_items, explode_map, cancel_map,
        cancel_map_programs, spawn_map, spawn_map_programs, compensate_map,
    )
}  # fmt: skip
