"""A store on a bench: opened by its URL, driven one batch at a time by a clock that moves only when told."""

import itertools
from collections.abc import Collection
from typing import Any

from fanfold.engine.writers import drive
from fanfold.model import lifecycle
from fanfold.model.commands import (
    Batch,
    Cancel,
    Checkpoint,
    ClaimRequest,
    Eviction,
    Outcome,
    Progressed,
    Release,
    Retried,
    Seal,
    Siblings,
)  # fmt: skip
from fanfold.model.groups import Policy, policy_text
from fanfold.model.run import FOLD, GROUP, PAGE, TASK, TIMER, TIMER_NAME, End, NewRun
from fanfold.store.opening import open_store
from fanfold.store.queries import Queries
from fanfold.store.store import Recovery, Store

OWNER = 77
QUEUE = "default"


def new_run(id: int, parent: NewRun | None = None, **fields: Any) -> NewRun:
    """Return a row to be inserted: a root, or a child of `parent` in its first epoch."""
    row = NewRun(
        id, parent.root_id if parent else id, parent.id if parent else 0, 1 if parent else 0,
        parent.depth + 1 if parent else 0, f"p:{id}" if parent else None, TASK, "work", 1, "{}",
        lifecycle.RUNNING, queue=QUEUE,
    )  # fmt: skip
    for name, value in fields.items():
        setattr(row, name, value)
    return row


def timer(id: int, parent: NewRun, delay_ms: int, **fields: Any) -> NewRun:
    """Return the row of a timer."""
    return new_run(
        id, parent, kind=TIMER, name=TIMER_NAME, queue="", state=lifecycle.PENDING, delay_ms=delay_ms, **fields
    )


class Bench:
    """One open store, the number of its next batch, and the time."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.now = 1_000_000
        self.ids = itertools.count(1)
        self.rows: dict[int, NewRun] = {}
        self.number = 0
        self.open()

    def open(self) -> None:
        self.opened = drive(open_store(self.url))
        self.store = Store(self.opened.writer, OWNER)
        self.queries = Queries(self.opened.reader)

    def reopen(self) -> None:
        """Close a store in a file and open it anew; one in memory stays open, or it would be gone."""
        if not self.opened.is_memory:
            self.opened.close()
            self.open()

    def close(self) -> None:
        self.opened.close()

    # What is asked -------------------------------------------------------------------------------------------------

    def apply(self, **kinds: Any) -> Outcome:
        """Commit one batch of these commands."""
        self.number += 1
        return drive(self.store.apply(Batch(number=self.number, **kinds), self.now))

    def recover(self, *at_work: NewRun) -> Recovery:
        """Do what an engine does first, after a death while these were at work."""
        return self.recover_ids([row.id for row in at_work])

    def recover_ids(self, at_work: Collection[int]) -> Recovery:
        self.number += 1
        return drive(self.store.recover(self.number, self.now, at_work))

    def run(self, parent: NewRun | None = None, **fields: Any) -> NewRun:
        """Make a row with a fresh id, not inserted."""
        row = new_run(next(self.ids), parent, **fields)
        self.rows[row.id] = row
        return row

    def timer(self, parent: NewRun, delay_ms: int, **fields: Any) -> NewRun:
        row = timer(next(self.ids), parent, delay_ms, **fields)
        self.rows[row.id] = row
        return row

    def group_row(self, owner: NewRun, **policy: Any) -> NewRun:
        options = policy_text(Policy(**policy))
        return self.run(owner, kind=GROUP, state=lifecycle.WAITING, queue="", input=None, options=options)

    def member_row(self, group: NewRun, **fields: Any) -> NewRun:
        """Make a member of a group; one that is held back is pending."""
        row = self.run(group)
        row.position = row.id
        row.state = lifecycle.PENDING if fields.get("is_held") else lifecycle.RUNNING
        for name, value in fields.items():
            setattr(row, name, value)
        return row

    def sibling_row(self, spawner: NewRun, **fields: Any) -> NewRun:
        """Make a run that a member adds to its group."""
        key = {"key": f"s:{spawner.id}:{next(self.ids)}"}
        return self.member_row(
            self.rows[spawner.parent_id], spawner=spawner.id, position=None, state=lifecycle.PENDING, **(key | fields)
        )

    def fold_row(self, group: NewRun) -> NewRun:
        owner = self.rows[group.parent_id]
        return self.run(owner, kind=FOLD, state=lifecycle.WAITING, queue="", input=f'{{"group":{group.id}}}')

    def page_row(self, group: NewRun, **fields: Any) -> NewRun:
        owner = self.rows[group.parent_id]
        return self.run(owner, kind=PAGE, state=lifecycle.PENDING, queue="", input=None, **fields)

    def group(self, owner: NewRun, **policy: Any) -> NewRun:
        """Insert a group."""
        row = self.group_row(owner, **policy)
        assert self.apply(new=[row]).refused == {}
        return row

    def members(self, group: NewRun, count: int, **fields: Any) -> list[NewRun]:
        """Insert members of a group in one batch."""
        rows = [self.member_row(group, **fields) for _ in range(count)]
        assert self.apply(new=rows).refused == {}
        return rows

    def fold(self, group: NewRun) -> NewRun:
        """Insert a fold of a group."""
        row = self.fold_row(group)
        assert self.apply(new=[row]).refused == {}
        return row

    def started(self, parent: NewRun | None = None, **fields: Any) -> NewRun:
        """Insert a run, as already claimed unless `state` says otherwise."""
        row = self.run(parent, **fields)
        assert self.apply(new=[row]).refused == {}
        return row

    def children(self, parent: NewRun, count: int, **fields: Any) -> list[NewRun]:
        """Insert several children in one batch."""
        rows = [self.run(parent, **fields) for _ in range(count)]
        assert self.apply(new=rows).refused == {}
        return rows

    def end_of(self, row: NewRun, state: str = lifecycle.COMPLETED, *, epoch: int = 1) -> End:
        output = f'"out {row.id}"' if state == lifecycle.COMPLETED else None
        return End(row.id, epoch, row.parent_id, state, output, '{"type":"E"}' if output is None else None)

    def end(self, *rows: NewRun, state: str = lifecycle.COMPLETED, epoch: int = 1) -> Outcome:
        return self.apply(ends=[self.end_of(row, state, epoch=epoch) for row in rows])

    def give_back(self, row: NewRun, *, epoch: int = 1) -> Outcome:
        """The body of `row` returned."""
        return self.apply(returns=[self.end_of(row, epoch=epoch)])

    def evict(self, row: NewRun, consumed: int, *, epoch: int = 1) -> Outcome:
        return self.apply(evictions=[Eviction(row.id, epoch, consumed)])

    def claim(self, *names: str, most: int = 10, queue: str = QUEUE) -> Outcome:
        return self.apply(claims=[ClaimRequest(queue, names or ("work",), most)])

    def requests(self) -> list[ClaimRequest]:
        return [ClaimRequest(QUEUE, ("work",), 10)]

    def requests_to_cancel(self, *rows: NewRun) -> list[Cancel]:
        return [Cancel(row.id, next(self.ids)) for row in rows]

    def claim_of(self, *rows: NewRun, most: int = 10) -> Outcome:
        """Claim just these."""
        return self.apply(claims=[ClaimRequest(None, ("work",), most, tuple(row.id for row in rows))])

    def claim_suspect(self, *names: str) -> Outcome:
        return self.apply(claims=[ClaimRequest(None, names or ("work",), 1)])

    def release(self, row: NewRun, *, epoch: int = 1, crashes: int = 0) -> Outcome:
        return self.apply(releases=[Release(row.id, epoch, crashes)])

    def retry(self, *rows: NewRun, epoch: int = 1, delay_ms: int = 0) -> Outcome:
        """An attempt of each of `rows` failed."""
        return self.apply(retries=[Retried(row.id, epoch, delay_ms, f'"failed {row.id}"') for row in rows])

    def report(self, row: NewRun, progress: str | None = None, *, epoch: int = 1) -> Outcome:
        """A body says how far it is."""
        return self.apply(progress=[Progressed(row.id, epoch, progress)])

    def quarantine(self, *rows: NewRun, epoch: int = 1) -> Outcome:
        return self.apply(quarantines=[self.end_of(row, lifecycle.FAILED, epoch=epoch) for row in rows])

    def seal(self, group: NewRun, error: str | None = None, *, epoch: int = 1) -> Outcome:
        """The owner adds no more members."""
        return self.apply(seals=[Seal(group.id, epoch, error)])

    def end_with(self, spawner: NewRun, *siblings: NewRun, epoch: int = 1) -> Outcome:
        """A member ends and adds others to its group."""
        return self.apply(siblings=[Siblings(self.end_of(spawner, epoch=epoch), list(siblings))])

    def checkpoint(self, fold: NewRun, done: int, *dropped: int, epoch: int = 1) -> Outcome:
        """A fold is so far; `dropped` are the group whose values are not kept, from which place on, and up to which."""
        return self.apply(checkpoints=[Checkpoint(fold.id, epoch, f'"{done}"', f'{{"done":{done}}}', *dropped)])

    def suspect(self, parent: NewRun | None = None, crashes: int = 2, **fields: Any) -> NewRun:
        """Insert a run whose process died so many times while it was at work; it is pending, in epoch 2."""
        row = self.started(parent, **fields)
        self.release(row, crashes=crashes)
        return row

    def cancel(self, *rows: NewRun) -> Outcome:
        return self.apply(cancels=self.requests_to_cancel(*rows))

    # What is there -------------------------------------------------------------------------------------------------

    def sql(self, text: str, **parameters: Any) -> list[dict[str, Any]]:
        """Read the tables past the store."""
        names: list[str] = []
        cursor = self.opened.writer._connection.cursor()
        cursor.exec_trace = lambda it, _sql, _bound: names.extend(c[0] for c in it.get_description()) or True
        return [dict(zip(names, row, strict=True)) for row in cursor.execute(text, parameters)]

    def change(self, text: str) -> None:
        """Change the tables past the store."""
        self.opened.writer._connection.execute(text)

    def row(self, run: NewRun | int) -> dict[str, Any]:
        (row,) = self.sql("SELECT * FROM runs WHERE id = :id", id=run if isinstance(run, int) else run.id)
        return row

    def state(self, run: NewRun | int) -> str:
        return self.row(run)["state"]

    def parent(self, run: NewRun) -> dict[str, Any]:
        (row,) = self.sql("SELECT * FROM parents WHERE id = :id", id=run.id)
        return row

    def attempts(self, run: NewRun) -> list[tuple[int, int, str]]:
        """Return (attempt, when it failed, error) of each attempt that was followed by another one."""
        return drive(self.queries.attempts(run.id))

    def members_in(self, group: NewRun, state: str) -> list[int]:
        found = self.sql(
            "SELECT id FROM runs WHERE parent_id = :id AND state = :state ORDER BY id", id=group.id, state=state
        )
        return [row["id"] for row in found]

    def due(self, group: NewRun) -> list[int]:
        """Return the pending members that their group does not hold back."""
        found = self.sql(
            "SELECT id FROM runs WHERE parent_id = :id AND state = 'pending' AND available_at <= :now ORDER BY id",
            id=group.id, now=self.now,
        )  # fmt: skip
        return [row["id"] for row in found]

    def count(self, what: str = "runs") -> int:
        return self.sql(f"SELECT count(*) AS n FROM {what}")[0]["n"]
