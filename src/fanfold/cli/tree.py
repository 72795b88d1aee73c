"""A tree of runs as people see it: so deep, so wide, and the rest counted by state."""

from __future__ import annotations

from collections.abc import Iterator

import click
import msgspec

from fanfold.cli.output import STYLES, key, safe, took
from fanfold.model import lifecycle
from fanfold.model.run import RunStatus
from fanfold.store.opening import reading
from fanfold.store.queries import Queries

# What needs a look comes first.
ORDER = (
    lifecycle.FAILED, lifecycle.PAUSED, lifecycle.CANCELLED, lifecycle.RUNNING, lifecycle.WAITING, lifecycle.PENDING,
    lifecycle.COMPLETED,
)  # fmt: skip


class Node(msgspec.Struct):
    """A run, the children that are shown, and how many more there are in each state."""

    run: RunStatus
    children: list[Node]
    more: dict[str, int]

    def statuses(self) -> Iterator[RunStatus]:
        """Yield the runs that are shown, parents before their children."""
        yield self.run
        for child in self.children:
            yield from child.statuses()

    def lines(self, first: str = "", rest: str = "") -> Iterator[str]:
        """Yield the tree, a line a run."""
        run = self.run
        state = click.style(run.state, fg=STYLES.get(run.state))
        facts = [str(run.id), safe(run.name), state, safe(key(run)), took(run), _error(run)]
        yield first + "  ".join(fact for fact in facts if fact)
        for number, child in enumerate(self.children, start=1):
            is_last = number == len(self.children) and not self.more
            yield from child.lines(rest + ("└─ " if is_last else "├─ "), rest + ("   " if is_last else "│  "))
        if self.more:
            yield f"{rest}└─ {more_line(self.more, has_some=bool(self.children))}"


def more_line(more: dict[str, int], *, has_some: bool) -> str:
    """Return what is said of the runs that are not shown: `... and 9,990 more: 9,990 completed`."""
    counts = ", ".join(f"{more[state]:,} {state}" for state in ORDER if state in more)
    total = f"{sum(more.values()):,}"
    return f"... and {total} more: {counts}" if has_some else f"... {total} below: {counts}"


def _error(run: RunStatus) -> str:
    if run.blocked:
        return safe(run.blocked)
    return safe(f"{run.error.get('type', '')}: {run.error.get('message', '')}") if run.error else ""


async def read_tree(url: str, id: int, depth: int, width: int) -> Node:
    """Read a tree; NotFound if there is no such run."""
    async with reading(url) as queries:
        return await _node(queries, await queries.status(id), depth, width)


async def _node(queries: Queries, run: RunStatus, depth: int, width: int) -> Node:
    if not run.children.spawned:
        return Node(run, [], {})
    shown = await queries.tree_level(run.id, 0, width) if depth else []
    is_all = bool(depth) and len(shown) < width
    more = {} if is_all else await queries.count_children(run.id, shown[-1].id if shown else 0)
    return Node(run, [await _node(queries, child, depth - 1, width) for child in shown], more)
