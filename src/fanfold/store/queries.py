"""Reads: short, each one statement, each bounded. Nothing here changes a row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from fanfold.errors import NotFound
from fanfold.model.codec import decode_text, encode_text
from fanfold.model.keys import shown
from fanfold.model.run import ChildCounts, Recorded, RunStatus
from fanfold.store.database import Database
from fanfold.store.transaction import Transaction

PAGE = 1000
NEWEST = 1 << 62
MOST_SORTED = 10_000  # children that are put in order for each page; of more the table is walked

_NO_RUN = "there is no run {} in this store; `fanfold runs list` shows those there are"

_recorded = msgspec.json.Decoder(list[Recorded])


class Queries:
    """What can be asked of a store, beside a running engine or without one."""

    def __init__(self, database: Database) -> None:
        self._tx = Transaction(database)

    async def meta(self) -> tuple[int, str, int, int, int]:
        """Return (schema version, store id, next run id, number of the last batch, engine time)."""
        ((version, store_id, next_id, sequence, clock_ms),) = await self._tx.rows("read_meta")
        return version, store_id, next_id, sequence, clock_ms

    async def status(self, id: int) -> RunStatus:
        """Return a run as people see it; NotFound if there is none."""
        rows = await self._tx.rows("read_run", id=id)
        if not rows:
            raise NotFound(_NO_RUN.format(id))
        return self._status(rows[0], await self.counts(id))

    async def counts(self, id: int) -> ChildCounts:
        """Return how a parent's children stand as people count them: zeroes without any.

        A group's members count in place of the group; timers, events and other rows of the engine's own do not.
        """
        rows = await self._tx.rows("read_counts", id=id)
        if not rows:
            return ChildCounts()
        *counted, running = rows[0]
        (row,) = await self._tx.rows("read_aside_counts", id=id)
        aside, members = row[:4], row[4:]
        spawned, open_, failed, cancelled = (
            count - not_counted + of_members
            for count, not_counted, of_members in zip(counted, aside, members, strict=True)
        )
        return ChildCounts(spawned, open_, running, spawned - open_ - failed - cancelled, failed, cancelled)

    @staticmethod
    def _status(row: list[Any], counts: ChildCounts) -> RunStatus:
        input_, output, error, blocked, tags, _digest, progress = row[12:19]
        fields: list[Any] = [
            row[0], shown(row[1]), *row[2:12],
            None if input_ is None else decode_text(input_),
            None if output is None else decode_text(output),
            None if error is None else decode_text(error),
            blocked,
            {} if tags is None else decode_text(tags),
            None if progress is None else decode_text(progress),
            counts,
        ]  # fmt: skip
        return RunStatus(*fields)

    async def outcome(self, id: int) -> tuple[str, str, str | None, str | None]:
        """Return (name, state, output text, error text or why it stands still) of a run."""
        rows = await self._tx.rows("read_run", id=id)
        if not rows:
            raise NotFound(_NO_RUN.format(id))
        output, error, blocked = (row := rows[0])[13:16]
        return row[2], row[4], output, error or blocked

    async def name_and_key(self, id: int) -> tuple[str, str | None]:
        """Return the task's name and the key of a run as it is stored; NotFound if there is none."""
        rows = await self._tx.rows("read_run", id=id)
        if not rows:
            raise NotFound(_NO_RUN.format(id))
        return rows[0][2], rows[0][1]

    async def digest(self, id: int) -> int:
        """Return the digest of a run's name and input."""
        return (await self._tx.rows("read_run", id=id))[0][17]

    async def pending_queues(self) -> list[str]:
        """Return the queues in which something is pending."""
        return [queue for (queue,) in await self._tx.rows("pending_queues")]

    async def held(self, owner: int) -> set[tuple[int, int]]:
        """Return what the table says that a worker holds: (run, epoch)."""
        return {(id, epoch) for id, epoch in await self._tx.rows("held", owner=owner)}

    async def unsettled(self) -> list[int]:
        """Return sealed parents without an open child that are not completed."""
        return [id for (id,) in await self._tx.rows("find_unsettled")]

    async def behind(self) -> list[int]:
        """Return workflows out of memory that have not seen all that was delivered to them."""
        return [id for (id,) in await self._tx.rows("find_behind")]

    async def next_available(self, now: int) -> int | None:
        """Return when the next delayed run may be claimed, or None."""
        due = await self._tx.value("next_available", now=now)
        return None if due is None else int(due)

    async def find_root(self, name: str, digest: int, options: str) -> int | None:
        """Return the newest unfinished keyless root of this task, input and options."""
        rows = await self._tx.rows("find_root", name=name, digest=digest, options=options)
        return rows[0][0] if rows else None

    async def other_roots(self, id: int, most: int) -> list[tuple[int, str]]:
        """Return unfinished roots other than this one, oldest first: (id, name)."""
        return [(other, name) for other, name in await self._tx.rows("other_roots", id=id, most=most)]

    async def find_key(self, parent_id: int, name: str, key: str) -> int | None:
        """Return the run that holds a key under a parent."""
        rows = await self._tx.rows("find_key", parent_id=parent_id, key=key, name=name)
        return rows[0][0] if rows else None

    async def group(self, id: int) -> tuple[int, int, bool, int]:
        """Return how a group stands: its members, how many are open, whether its owner adds no more, how many ended."""
        rows = await self._tx.rows("read_group", id=id)
        return (rows[0][0], rows[0][1], bool(rows[0][2]), rows[0][3]) if rows else (0, 0, False, 0)

    async def outcomes(self, group_id: int, after: int, upto: int) -> list[list[Any]]:
        """Return a page of a group's members that have ended, in the order of their ends: behind `after`, up to `upto`.

        A row is (seq, id, key, position, name, state, output, error).
        """
        return await self._tx.rows("read_outcomes", group_id=group_id, after=after, upto=upto, most=PAGE)

    async def fold(self, id: int) -> tuple[str | None, str | None]:
        """Return what a fold has recorded of itself: its value and how far it is."""
        rows = await self._tx.rows("read_fold", id=id)
        return (rows[0][0], rows[0][1]) if rows else (None, None)

    async def member_digests(self, group_id: int, key: str = "") -> list[tuple[str, int, int]]:
        """Return a page of a group's members as (key, id, digest), by key: those after `key`."""
        rows = await self._tx.rows("read_member_digests", group_id=group_id, key=key, most=PAGE)
        return [(key, id, digest) for key, id, digest in rows]

    async def attempts(self, id: int) -> list[tuple[int, int, str]]:
        """Return a run's failed attempts that were followed by another: (number, when it failed, error text)."""
        return [(number, at, error) for number, at, error in await self._tx.rows("read_attempts", id=id)]

    async def children(self, parent_id: int, key: str = "", name: str = "", most: int = PAGE) -> list[Recorded]:
        """Return a page of a parent's children by key and name: those after (`key`, `name`)."""
        text = await self._tx.text("read_children", parent_id=parent_id, key=key, name=name, most=most)
        return _recorded.decode(text)

    async def deliveries(self, parent_id: int, after: int, most: int = PAGE) -> list[Recorded]:
        """Return a page of what was delivered to a parent, in order."""
        text = await self._tx.text("read_deliveries", parent_id=parent_id, after=after, most=most)
        return _recorded.decode(text)

    async def runs(
        self, *, before: int = NEWEST, state: str | None = None, name: str | None = None,
        parent_id: int | None = None, tags: Mapping[str, str] | None = None, since_ms: int | None = None,
        most: int = PAGE,
    ) -> list[RunStatus]:  # fmt: skip
        """Return runs newest first, those with an id below `before`; `since_ms` is when they were made at the earliest.

        Where a tag's name is made of nothing but signs, there may be some among them that only look as if they had it.
        """
        pairs = [(encode_text({tag: value})[1:-1],) for tag, value in (tags or {}).items()]
        rows = await self._tx.rows(
            "list_runs", before=before, state=state, name=name, parent_id=parent_id, tags=pairs, since=since_ms,
            most=most,
        )  # fmt: skip
        return [self._status(row, await self.counts(row[0])) for row in rows]

    async def tree_level(
        self, parent_id: int, after: int, most: int, *, state: str | None = None, name: str | None = None,
        shows_waits: bool = True,
    ) -> list[RunStatus]:  # fmt: skip
        """Return children oldest first, those with an id beyond `after`; timers and events if it `shows_waits`."""
        is_sorted = (await self.counts(parent_id)).spawned <= MOST_SORTED
        rows = await self._tx.rows(
            "list_children" if is_sorted else "walk_children", parent_id=parent_id, after=max(after, parent_id),
            state=state, name=name, shows_waits=int(shows_waits), most=most,
        )  # fmt: skip
        return [self._status(row, await self.counts(row[0])) for row in rows]

    async def count_runs(self) -> dict[str, int]:
        """Return how many runs stand in each state."""
        return dict(await self._tx.rows("count_runs"))

    async def count_children(self, parent_id: int, after: int) -> dict[str, int]:
        """Return how many children with an id beyond `after` stand in each state."""
        return dict(await self._tx.rows("count_children", parent_id=parent_id, after=after))
