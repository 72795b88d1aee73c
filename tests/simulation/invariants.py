"""What must hold after every commit, as SQL over any store; the numbers are those of docs/guarantees.md.

Each query returns the ids of the runs that break it.
"""

from typing import Any, NamedTuple

import apsw

from fanfold.model.lifecycle import CANCELLED, COMPLETED, FAILED, PAUSED, PENDING, RUNNING, TERMINAL, WAITING
from fanfold.model.run import FOLD, ROOT, WORKFLOW
from tests.simulation import group_rules
from tests.simulation.leaves import least_delay_ms, policy

# The key without the mark of the attempt of its parent that started it.
_BASE_KEY = "substr(key, 1, 1) || substr(key, instr(key, ':'))"
_TERMINAL = "({})".format(", ".join(f"'{state}'" for state in TERMINAL))

_COUNTED = f"""(SELECT parent_id, count(*) AS spawned, sum(finished_at IS NULL) AS open,
  sum(state = '{FAILED}') AS failed, sum(state = '{CANCELLED}') AS cancelled, count(seq) AS delivered,
  coalesce(max(seq), 0) AS last, count(DISTINCT seq) AS seqs FROM runs WHERE parent_id <> 0 GROUP BY parent_id)"""

RULES: dict[str, str] = {
    "1: its parent is not there, or root and depth do not fit": """
        SELECT c.id FROM runs c LEFT JOIN runs p ON p.id = c.parent_id LEFT JOIN parents q ON q.id = c.parent_id
        WHERE c.parent_id <> 0 AND (p.id IS NULL OR q.id IS NULL OR c.root_id <> p.root_id OR c.depth <> p.depth + 1)
        OR c.parent_id = 0 AND (c.root_id <> c.id OR c.depth <> 0)""",
    "1: two children of one identity": f"""
        SELECT min(id) FROM runs WHERE parent_id <> 0 GROUP BY parent_id, {_BASE_KEY}, name
        HAVING sum(state NOT IN ('{FAILED}', '{CANCELLED}') AND cancel_requested_at IS NULL) > 1 AND key NOT LIKE 'p:%'
        OR count(DISTINCT key) < count(*)""",
    "2: the counters are not what the children say": f"""
        SELECT p.id FROM parents p LEFT JOIN {_COUNTED} c ON c.parent_id = p.id
        WHERE p.spawned <> coalesce(c.spawned, 0) OR p.open <> coalesce(c.open, 0)
        OR p.failed <> coalesce(c.failed, 0) OR p.cancelled <> coalesce(c.cancelled, 0)
        OR p.delivered <> coalesce(c.delivered, 0)""",
    "3: the order of delivery has a gap or a double": f"""
        SELECT parent_id FROM {_COUNTED} WHERE delivered <> last OR delivered <> seqs""",
    "4: terminal without its marks, or marked and not terminal": f"""
        SELECT id FROM runs WHERE (state IN {_TERMINAL}) <> (finished_at IS NOT NULL)
        OR state IN {_TERMINAL} AND owner IS NOT NULL
        OR state = '{COMPLETED}' AND (error IS NOT NULL OR output IS NULL AND kind IN ('group', 'fold'))
        OR state = '{FAILED}' AND (error IS NULL OR output IS NOT NULL)
        OR state = '{CANCELLED}' AND output IS NOT NULL
        OR finished_at IS NULL AND (error IS NOT NULL OR seq IS NOT NULL)
        OR finished_at IS NULL AND output IS NOT NULL AND kind <> 'fold'
          AND (state <> '{WAITING}' OR NOT EXISTS (SELECT 1 FROM parents p WHERE p.id = runs.id AND p.sealed = 1))""",
    "5: returned, no open child, and not ended": """
        SELECT p.id FROM parents p JOIN runs r ON r.id = p.id
        WHERE p.sealed = 1 AND p.open = 0 AND r.finished_at IS NULL""",
    "6: running without a living owner, or owned without running": f"""
        SELECT id FROM runs WHERE (state = '{RUNNING}') <> (owner IS NOT NULL) OR owner <> :owner""",
    "7: open under an ended parent, and not asked to cancel": f"""
        SELECT c.id FROM runs c JOIN runs p ON p.id = c.parent_id
        WHERE c.finished_at IS NULL AND p.state IN {_TERMINAL}
        AND c.cancel_requested_at IS NULL AND c.compensates = 0""",
    "11: a timer fired early, or its time is not its delay after its start": f"""
        SELECT id FROM runs WHERE kind = 'timer' AND (state = '{COMPLETED}' AND finished_at < available_at
        OR available_at <> created_at + (input ->> '$.delay_ms'))""",
    "11: a timer is left under a run whose body has returned": """
        SELECT c.id FROM runs c JOIN parents p ON p.id = c.parent_id
        WHERE c.kind = 'timer' AND c.finished_at IS NULL AND p.sealed = 1""",
    "12: out of memory, and not everything delivered was consumed": f"""
        SELECT p.id FROM parents p JOIN runs r ON r.id = p.id WHERE p.consumed > p.delivered
        OR r.state = '{WAITING}' AND r.owner IS NULL AND p.sealed = 0 AND p.consumed <> p.delivered
          AND r.kind <> 'group'""",
    "group: it is not decided by its members": f"""
        SELECT g.id FROM runs g LEFT JOIN parents p ON p.id = g.id WHERE g.kind = 'group' AND (
          g.state NOT IN ('{WAITING}', '{COMPLETED}', '{FAILED}', '{CANCELLED}') AND g.cancel_requested_at IS NULL
          OR g.state = '{COMPLETED}' AND (p.sealed = 0 OR p.open > 0)
          OR g.state = '{FAILED}' AND coalesce(p.failed + p.cancelled, 0) = 0
            AND g.error ->> '$.failures[0].run_id' <> g.id
          OR g.state IN ('{WAITING}', '{COMPLETED}') AND p.failed + p.cancelled > 0
            AND coalesce(g.options ->> '$.failures', 'raise') = 'raise')""",
    "group: its members have no positions, or not each one": """
        SELECT g.id FROM runs g JOIN runs c ON c.parent_id = g.id WHERE g.kind = 'group' GROUP BY g.id
        HAVING count(DISTINCT c.position) < count(c.position)
          OR min(c.position) <> 0 OR max(c.position) <> count(c.position) - 1""",
    "group: more open members than there is room for": """
        SELECT p.id FROM parents p JOIN runs g ON g.id = p.id AND g.kind = 'group'
        WHERE p.open > :window AND coalesce(g.options ->> '$.is_open', 0) = 0
        AND NOT EXISTS (SELECT 1 FROM runs c WHERE c.parent_id = g.id AND c.position IS NULL)""",
    "cancel: made under a run after it was asked to cancel, and not asked itself": """
        SELECT c.id FROM runs c JOIN runs p ON p.id IN (c.parent_id, c.root_id)
        WHERE c.kind NOT IN ('timer', 'page')
        AND c.created_at > p.cancel_requested_at AND c.compensates = 0 AND c.cancel_requested_at IS NULL""",
    "cancel: started under a run after it was asked to cancel": """
        SELECT c.id FROM runs c JOIN runs p ON p.id IN (c.parent_id, c.root_id) AND p.id <> c.id
        WHERE c.started_at > p.cancel_requested_at AND c.compensates = 0""",
    "cancel: a task started after it was asked to cancel": """
        SELECT id FROM runs WHERE kind = 'task' AND started_at > cancel_requested_at""",
    "states: none that is known": f"""
        SELECT id FROM runs WHERE state NOT IN
        ('{PENDING}', '{RUNNING}', '{WAITING}', '{PAUSED}', '{COMPLETED}', '{FAILED}', '{CANCELLED}')""",
}

RULES |= group_rules.RULES
_ALL = " UNION ALL ".join(f"SELECT {place}, * FROM ({query})" for place, query in enumerate(RULES.values()))
_NAMES = list(RULES)


def broken(connection: apsw.Connection, owner: int, window: int) -> list[str]:
    """Evaluate every rule; return what is broken, and by which run.

    `owner` is the engine that lives, `window` how many members of a group may be open.
    """
    found = connection.execute(_ALL, {"owner": owner, "window": window}).fetchall()
    return [f"invariant {_NAMES[place]}: run {id}" for place, id in found]


class Row(NamedTuple):
    """A run, as far as its history matters."""

    id: int
    state: str
    epoch: int
    attempt: int
    seq: int | None
    finished_at: int | None
    output: str | None
    error: str | None
    crashes: int
    available_at: int
    cancel_requested_at: int | None
    progress: str | None
    same_as: int | None
    # What never changes.
    created_at: int
    parent_id: int
    root_id: int
    kind: str
    compensates: int
    name: str
    input: str | None
    options: str | None
    digest: int
    key: str | None

    @property
    def identity(self) -> tuple[Any, ...]:
        return self[-10:]


_HISTORY = f"SELECT {', '.join(Row._fields)} FROM runs"


class History:
    """What may only change in one way from commit to commit."""

    def __init__(self) -> None:
        self._rows: dict[int, Row] = {}
        self._sequence = 0
        self._clock_ms = 0
        self._not_before: dict[int, int] = {}  # when the next attempt of a run may start
        self.accused: set[int] = set()  # runs whose crashes rose with the last commit

    def broken(self, connection: apsw.Connection) -> list[str]:
        """Compare with the commit before."""
        found: list[str] = []
        rows = {row[0]: Row(*row) for row in connection.execute(_HISTORY)}
        ((sequence, clock_ms),) = connection.execute("SELECT commit_sequence, clock_ms FROM meta").fetchall()
        self.accused = set()
        for id, before in self._rows.items():
            now = rows.get(id)
            if now is None:
                found.append(f"invariant 3: run {id} is gone")
            elif now != before:
                found += self._changed(before, now, clock_ms)
                if now.kind == FOLD:
                    found += group_rules.wrong_folds(now, rows.values())
        for id, row in rows.items():
            before = self._rows.get(id)
            if before is None and row.attempt > 1:
                found.append(f"invariant 8: run {id} is new and at attempt {row.attempt}")
            found += self._claimed_under_a_cancel(before, row)
        if sequence <= self._sequence:
            found.append(f"invariant 9: the commit sequence went from {self._sequence} to {sequence}")
        if clock_ms < self._clock_ms:
            found.append(f"clock: it went back from {self._clock_ms} to {clock_ms}")
        self._rows, self._sequence, self._clock_ms = rows, sequence, clock_ms
        return found

    def _claimed_under_a_cancel(self, before: Row | None, now: Row) -> list[str]:
        """Check that what starts is not under a run that was asked to cancel before; compensation may be.

        A workflow that has begun is claimed all the same: it must hear of it.
        """
        is_claimed = now.state == RUNNING and (before is None or before.epoch != now.epoch)
        if not is_claimed or now.compensates or (before is not None and before.epoch and now.kind == WORKFLOW):
            return []
        return [
            f"cancel: run {now.id} is claimed, and run {id} above it was asked to cancel"
            for id in {now.parent_id, now.root_id, now.id}
            if id in self._rows and self.is_asked(id)
        ]

    def _changed(self, before: Row, now: Row, clock_ms: int) -> list[str]:
        """Compare a row with what it was."""
        id = now.id
        if before.finished_at is not None:
            if now == before._replace(output=None) and now.state == COMPLETED:
                return []  # a rule says when a result may be dropped
            return [f"invariant 3: run {id} had ended and has changed: {before} -> {now}"]
        if now.epoch < before.epoch:
            return [f"invariant 8: the epoch of run {id} fell from {before.epoch} to {now.epoch}"]
        if now.identity != before.identity:
            return [f"invariant 1: run {id} changed its identity"]
        if now.crashes > before.crashes + 1:
            return [f"crashes: those of run {id} went from {before.crashes} to {now.crashes}"]
        if now.crashes > before.crashes:
            self.accused.add(id)
        if now.attempt != before.attempt:
            return self._tried_again(before, now, clock_ms)
        has_begun = now.state == RUNNING and now.epoch != before.epoch
        if has_begun and clock_ms < self._not_before.get(id, 0):
            return [f"retry: attempt {now.attempt} of run {id} starts {self._not_before[id] - clock_ms} ms early"]
        return []

    def _tried_again(self, before: Row, now: Row, clock_ms: int) -> list[str]:
        """Check that another attempt follows a failed one, within the policy, and after its delay."""
        id, number = now.id, now.attempt
        if number != before.attempt + 1:
            return [f"invariant 8: run {id} went from attempt {before.attempt} to {number}"]
        if number == 1:
            return []  # it is claimed
        if number > policy(now.name, now.options).max_attempts:
            return [f"invariant 8: run {id} is at attempt {number}"]
        if before.state != RUNNING or now.state not in (PENDING, CANCELLED):  # one batch may do both
            return [f"invariant 8: run {id} is {now.state} at attempt {number}, after {before.state}"]
        least = least_delay_ms(now.name, now.input or "", now.options, before.attempt)
        self._not_before[id] = clock_ms + least
        if now.available_at < clock_ms + least:
            return [f"retry: run {id} may start after {now.available_at - clock_ms} ms, its policy says {least}"]
        return []

    @property
    def sequence(self) -> int:
        """The number of the last commit."""
        return self._sequence

    @property
    def clock_ms(self) -> int:
        """The engine time of the last commit."""
        return self._clock_ms

    def state(self, id: int) -> tuple[str, int] | None:
        """Return a run's state and epoch at the last commit."""
        row = self._rows.get(id)
        return None if row is None else (row.state, row.epoch)

    def key(self, id: int) -> str | None:
        """Return a run's key."""
        return self._rows[id].key

    def has_completed_before(self, id: int) -> bool:
        """Tell whether a member that is run had completed in the group of an earlier attempt."""
        row = self._rows.get(id)
        return row is not None and group_rules.has_completed_before(row, self._rows)

    def is_asked(self, id: int) -> bool:
        """Tell whether a run was asked to cancel."""
        return self._rows[id].cancel_requested_at is not None

    def open_roots(self, ids: set[int]) -> set[int]:
        """Return those of these runs that are roots and had not ended at the last commit."""
        return {
            id
            for id in ids
            if (row := self._rows.get(id)) is not None and row.parent_id == ROOT and row.finished_at is None
        }

    def crashes(self, id: int) -> int:
        """Return how many deaths in a row count against a run."""
        return self._rows[id].crashes

    @property
    def is_over(self) -> bool:
        """Tell whether every run has ended."""
        return all(row.finished_at is not None for row in self._rows.values())

    def unfinished(self) -> list[tuple[Any, ...]]:
        """Return the runs that have not ended."""
        return [row[:5] for row in self._rows.values() if row.finished_at is None]
