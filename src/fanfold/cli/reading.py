"""What the command asks of a store beyond the engine's own reads, and the one thing that it mends in it.

The statements have the slots of the store's, so that states come from the lifecycle table here as well.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import msgspec

from fanfold.errors import StoreUnavailable
from fanfold.store import statements
from fanfold.store.database import BatchRejected, Database, StoreBusy
from fanfold.store.opening import open_reader, open_store
from fanfold.store.queries import Queries

# How many runs there are in each state.
COUNT_RUNS = "SELECT {rows: state, number} FROM (SELECT state, count(*) AS number FROM runs GROUP BY state)"
# The same of one parent's children, without those that are shown one by one.
COUNT_CHILDREN = """SELECT {rows: state, number} FROM (
  SELECT state, count(*) AS number FROM runs WHERE parent_id = :parent_id AND id > :after GROUP BY state)"""
# When what waits may start was reckoned from a clock that was ahead.
MOVE_PENDING = "UPDATE runs SET available_at = available_at - :ahead_ms WHERE {from:claim runs}"
SET_CLOCK = "UPDATE meta SET clock_ms = :now"


@asynccontextmanager
async def reading(url: str) -> AsyncGenerator[tuple[Queries, Database]]:
    """Open a store for reading, beside a running engine or without one."""
    try:
        database = await open_reader(url)
        try:
            yield Queries(database), database
        finally:
            database.close()
    except (BatchRejected, StoreBusy) as error:
        raise StoreUnavailable(f"cannot read the store {url}: {error}") from None


async def count_runs(database: Database) -> dict[str, int]:
    """Return how many runs stand in each state."""
    return await _counts(database, COUNT_RUNS, {})


async def count_children(database: Database, parent_id: int, after: int) -> dict[str, int]:
    """Return how many children with an id beyond `after` stand in each state."""
    return await _counts(database, COUNT_CHILDREN, {"parent_id": parent_id, "after": after})


async def _counts(database: Database, statement: str, parameters: dict[str, str | int | None]) -> dict[str, int]:
    text = await database.fetch(statements.render(statement, database.dialect), parameters)
    return dict(msgspec.json.decode(str(text), type=list[tuple[str, int]]))


async def accept_clock(url: str, wall_ms: int) -> tuple[int, int]:
    """Take the wall for the time of a store that was written ahead of it, as long as no engine has it.

    Returns by how many milliseconds it was ahead (0 or less: nothing was changed) and how many pending runs moved.
    """
    opened = await open_store(url)
    try:
        *_, clock_ms = await Queries(opened.reader).meta()
        ahead_ms = clock_ms - wall_ms
        if ahead_ms <= 0:
            return ahead_ms, 0
        writer = opened.writer
        await writer.begin()
        try:
            moved = await writer.execute(statements.render(MOVE_PENDING, writer.dialect), {"ahead_ms": ahead_ms})
            await writer.execute(SET_CLOCK, {"now": wall_ms})
        except BaseException:
            await writer.rollback()
            raise
        await writer.commit()
        return ahead_ms, moved
    finally:
        opened.close()
