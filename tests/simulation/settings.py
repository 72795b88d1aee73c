"""Makes everything small and slow for the time of one seed, so that little is enough to reach each limit."""

import asyncio
import contextlib
import logging
import sys
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any

from fanfold.store.queries import Queries
from fanfold.worker import folds
from tests.simulation import leaves
from tests.simulation.faults import Plan
from tests.simulation.maps import ShuffledMembers

FLOORS = ("fanfold.engine", "fanfold.store", "fanfold.worker")  # where the limits stand
PAGED = ("children", "deliveries")
READS = (*PAGED, "group", "outcomes", "member_digests", "fold")


@contextlib.contextmanager
def settings(plan: Plan, bodies: Any) -> Iterator[None]:
    """Set the plan's limits wherever they stand, and tell `bodies` what tasks do."""
    wanted: dict[str, Any] = {**plan.settings, "Members": ShuffledMembers}
    places: list[tuple[Any, str, Any]] = [
        (module, name, value)
        for path, module in list(sys.modules.items())
        if path.startswith(FLOORS)
        for name, value in wanted.items()
        if type(getattr(module, name, None)) is type(value)  # PAGE is the name of a kind as well
    ]
    assert {name for _, name, _ in places} == wanted.keys(), "a limit that the seeds play with is gone"
    places.append((folds, "EVERY_MS", plan.checkpoint_ms))
    places += [(Queries, name, _late(getattr(Queries, name), plan)) for name in READS]
    before = {(place, name): getattr(place, name) for place, name, _ in places}
    defaults = [(getattr(Queries, name), getattr(Queries, name).__defaults__) for name in PAGED]
    log = logging.getLogger("fanfold")
    was_disabled, log.disabled = log.disabled, True
    for place, name, value in places:
        setattr(place, name, value)
    for function, usual in defaults:
        function.__defaults__ = (*usual[:-1], plan.settings["PAGE"])
    was = leaves.use(bodies)
    try:
        yield
    finally:
        for (place, name), value in before.items():
            setattr(place, name, value)
        for function, usual in defaults:
            function.__defaults__ = usual
        leaves.use(was)
        log.disabled = was_disabled


def _late(read: Callable[..., Any], plan: Plan) -> Callable[..., Any]:
    """Return a read whose answer comes late: others commit meanwhile."""

    @wraps(read)
    async def late(queries: Queries, *arguments: Any) -> Any:
        found = await read(queries, *arguments)
        delay_s = plan.read_s()
        if delay_s:
            await asyncio.sleep(delay_s)
        return found

    return late
