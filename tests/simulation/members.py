"""The members of open groups: tasks and workflows that add siblings, and what a fold makes of their results."""

from random import Random
from typing import Any

from fanfold import Retry, current
from fanfold.worker.group import Group
from tests.simulation import leaves
from tests.simulation.leaves import app, begin, note_begin, picky, work
from tests.simulation.values import ATTEMPTS, work_value

MODULUS = 1_000_003  # of what depends on order


@app.task(retry=Retry(max_attempts=ATTEMPTS, delay=0.03))
async def grow(x: int, fails: int, adds: list[Any]) -> int:
    """Add siblings, and fail in the first attempts."""
    await begin(x % 4 * 5)
    return _grown(x, fails, adds)


@app.task(retry=Retry(max_attempts=ATTEMPTS, delay=0))
def sync_grow(x: int, fails: int, adds: list[Any]) -> int:
    """Do so in a thread."""
    note_begin()
    return _grown(x, fails, adds)


@app.workflow
async def grow_flow(x: int, fails: int, adds: list[Any]) -> int:
    """Add siblings before and after a child of its own; fail for good, if at all."""
    add(adds[:1])
    await work(x)
    add(adds[1:])
    if fails >= ATTEMPTS:
        raise ValueError(f"grow_flow {x}")
    return work_value(x)


@app.task
async def regrow(x: int, until: int) -> int:
    """Fail unless a later attempt of the group's owner has made the group afresh."""
    note_begin()
    if leaves.bodies.generation_of(current().parent_id) <= until:
        raise ValueError(f"regrow {x}")
    return work_value(x)


def _grown(x: int, fails: int, adds: list[Any]) -> int:
    add(adds)
    if current().attempt <= fails:
        raise ValueError(f"grow {x}")
    return work_value(x)


def add(adds: list[Any]) -> None:
    """Add siblings to the group of the calling member; each is a key or none, and a member."""
    group: Any = current().group
    for key, member in adds:
        _spawn(group, key, member)


def spawn_all(group: Group[Any, Any], members: list[Any]) -> None:
    """Add members to a group of one's own."""
    for key, member in members:
        _spawn(group, key, member)


def _spawn(group: Any, key: str | None, member: list[Any]) -> None:
    task = TASKS[member[0]]
    group.spawn(task if key is None else task.options(key=key), *member[1:])


def count_up(so_far: list[int], value: int) -> list[int]:
    """Take one more result in: how many, their sum, and a number that depends on their order."""
    number, total, order = so_far
    return [number + 1, total + value, (order * 33 + value) % MODULUS]


def picky_count(so_far: list[int], value: int) -> list[int]:
    """Fail at some results."""
    if value % 5 == 0:
        raise ValueError(f"picky {value}")
    return count_up(so_far, value)


NOTHING_YET = [0, 0, 1]
TASKS: dict[str, Any] = {
    "work": work, "picky": picky, "grow": grow, "sync_grow": sync_grow, "grow_flow": grow_flow, "regrow": regrow,
    "sync_work": leaves.sync_work, "flaky": leaves.flaky, "bomb": leaves.bomb, "deaf": leaves.deaf,
}  # fmt: skip


def pauses(seed: int, count: int) -> list[float]:
    """Return how long to wait between the parts of a group that is added to little by little."""
    rng = Random(seed)
    return [rng.choice((0.0, 0.004, 0.06)) for _ in range(count)]
