"""Records of generated programs, kept in a file: what one Python has recorded, another goes on with.

`python -m tests.fidelity.records FILE` makes the records anew, when the programs or the keys of calls have changed.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
from pathlib import Path

import msgspec

from fanfold.model.run import EVENT, Claimed, End, Recorded
from fanfold.testing import TestApp
from fanfold.worker.workflow import WorkflowRun
from tests.fidelity.executions import LIVES, Said, app, program

SEEDS = range(2000, 2020)
BEYOND = 1 << 40  # ids that no recorded run has


class Record(msgspec.Struct):
    """One program's run: its children as a replay reads them, and what it said."""

    seed: int
    created_at: int
    children: list[Recorded]
    deliveries: list[Recorded]
    said: Said


async def make(seed: int) -> Record:
    """Run a program to its end; return its record."""
    LIVES.clear()
    async with TestApp(app) as test:
        run = await test.start(program, seed)
        await test.result(run)
        created_at = (await run.status()).created_at
        children = await test.queries.children(run.id)
        deliveries = await test.queries.deliveries(run.id, 0)
    return Record(seed, created_at, children, deliveries, plain(LIVES[-1].said, LIVES[-1].ordered))


def plain(*traces: object) -> Said:
    """Return traces as they come out of a file."""
    return msgspec.json.decode(msgspec.json.encode(traces))


async def replay(record: Record) -> tuple[str | None, End | None, Said]:
    """Feed a program with a record; return why it stands still, how it ended, and what it said."""
    LIVES.clear()
    claimed = Claimed(
        1, 1, 0, 1, 1, 0, 0, None, program.kind, program.name, "default", 0, f'{{"seed":{record.seed}}}', None, "0",
        None, 0, record.created_at, 1,
    )  # fmt: skip
    ids = itertools.count(BEYOND)
    workflow = WorkflowRun(claimed, 1, {claimed.name: program}, record.created_at, "store", lambda: next(ids))
    workflow.begin(record.children)
    for child in record.deliveries:
        end = End(child.id, 0, 1, child.state, child.output, child.error)
        workflow.deliver((end,), (child.id,) if child.kind == EVENT else (), child.finished_at or 0)
    workflow.end_replay()
    broken, ended = workflow.broken, workflow.end
    workflow.close()
    return broken, ended, plain(LIVES[0].said, LIVES[0].ordered)


def read(path: Path) -> list[Record]:
    """Return the records of a file."""
    return msgspec.json.decode(path.read_bytes(), type=list[Record])


def main() -> None:
    """Write a file of records."""
    records = [asyncio.run(make(seed)) for seed in SEEDS]
    lines = [msgspec.json.encode(record).decode() for record in records]
    Path(sys.argv[1]).write_text("[\n" + ",\n".join(lines) + "\n]\n")


if __name__ == "__main__":
    main()
