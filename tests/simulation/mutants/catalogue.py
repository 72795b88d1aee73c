"""The planted bugs, by the numbers of docs/guarantees.md: what is broken, by which text, and the seed that finds it."""

from typing import NamedTuple


class Edit(NamedTuple):
    """One change: `old` occurs exactly once in `file`, a path below src/fanfold."""

    file: str
    old: str
    new: str


class Mutant:
    """One planted bug, and the seed that finds it."""

    def __init__(self, number: int, name: str, seed: int, *edits: Edit) -> None:
        self.number = number
        self.name = name
        self.seed = seed
        self.edits = edits


SQL = "store/statements.sql"
READS = "store/queries.sql"

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        1,
        "complete without the epoch guard",
        117,
        Edit(
            SQL,
            "r.id = {int:0} AND r.epoch = {int:1} AND r.state = :from_state",
            "r.id = {int:0} AND r.state = :from_state",
        ),
        Edit(
            SQL,
            "WHERE id = :id AND epoch = :epoch AND state = :from_state",
            "WHERE id = :id AND state = :from_state",
        ),
        Edit(
            SQL,
            "JOIN runs r ON r.id = {int:0} AND r.epoch = {int:1}\nLEFT JOIN parents p ON p.id = r.parent_id",
            "JOIN runs r ON r.id = {int:0}\nLEFT JOIN parents p ON p.id = r.parent_id",
        ),
    ),
    Mutant(
        2,
        "complete accepted twice",
        3242,
        Edit(
            SQL,
            "r.id = {int:0} AND r.epoch = {int:1} AND r.state = :from_state",
            "r.id = {int:0} AND r.epoch = {int:1} AND :from_state = :from_state",
        ),
        Edit(
            SQL,
            "WHERE id = :id AND epoch = :epoch AND state = :from_state",
            "WHERE id = :id AND epoch = :epoch AND :from_state = :from_state",
        ),
    ),
    Mutant(
        3,
        "effects before the commit",
        1,
        Edit(
            "store/sqlite.py",
            'self._connection.execute("BEGIN IMMEDIATE")',
            'self._connection.execute("COMMIT" if self._connection.in_transaction else "SELECT 1")\n'
            '            self._connection.execute("BEGIN IMMEDIATE")',
        ),
        Edit(
            "store/sqlite.py",
            'self._connection.execute("COMMIT")',
            "pass",
        ),
    ),
    Mutant(
        4,
        "body before its commit",
        1,
        Edit(
            "worker/worker.py",
            "            commits.spawn(outbox.new)\n",
            "            commits.spawn(outbox.new)\n"
            "            for run in outbox.new:\n"
            "                if run.kind == TASK and run.state == lifecycle.RUNNING:\n"
            "                    self._start_body(run, 1, self._engine.clock.now_ms())\n",
        ),
    ),
    Mutant(
        5,
        "a failed batch taken for committed",
        3,
        Edit(
            "engine/writers.py",
            "if await store.committed_batch() == batch.number and unknown.outcome is not None:",
            "if unknown.outcome is not None:",
        ),
    ),
    Mutant(
        6,
        "after a rollback by the database the rest of the batch runs on alone",
        10,
        Edit(
            "store/sqlite.py",
            "if not self._connection.in_transaction:\n            # A full disk",
            "if False:\n            # A full disk",
        ),
    ),
    Mutant(
        7,
        "`open` not lowered on failure",
        2,
        Edit(
            "store/endings.py",
            "parent, len(group), len(group),",
            "parent, sum(end.state != lifecycle.FAILED for end in group), len(group),",
        ),
    ),
    Mutant(
        8,
        "`spawned` raised by rows sent, not by rows inserted",
        19,
        Edit(
            "store/store.py",
            "            new = [row for row in new if row.id in there]\n",
            "",
        ),
    ),
    Mutant(
        9,
        "recovery keeps the old epoch",
        12,
        Edit(
            SQL,
            "UPDATE runs SET {to:release}, owner = NULL, epoch = epoch + 1, crashes",
            "UPDATE runs SET {to:release}, owner = NULL, crashes",
        ),
        Edit(
            SQL,
            "UPDATE runs SET {to:claim}, owner = :owner, epoch = epoch + 1,",
            "UPDATE runs SET {to:claim}, owner = :owner, epoch = max(epoch, 1),",
        ),
    ),
    Mutant(
        10,
        "recovery forgets what waits for a timer",
        17,
        Edit(
            "engine/engine.py",
            "self._timers.set(recovery.next_timer)",
            "self._timers.set(None)",
        ),
    ),
    Mutant(
        11,
        "deliveries replayed in id order",
        2,
        Edit(
            READS,
            "WHERE parent_id = :parent_id AND seq > :after ORDER BY seq LIMIT :most)",
            "WHERE parent_id = :parent_id AND seq > :after ORDER BY id LIMIT :most)",
        ),
    ),
    Mutant(
        12,
        "two deliveries resolved before stepping",
        88,
        Edit(
            "worker/workflow.py",
            "                self._turn()\n                if outbox.new",
            "                if taken % 2 and taken < len(ends):\n"
            "                    continue\n"
            "                self._turn()\n"
            "                if outbox.new",
        ),
    ),
    Mutant(
        14,
        "call counter not reset on replay",
        1,
        Edit(
            "worker/places.py",
            "        self.calls = 0\n        self.tasks = 0\n",
            "        self.calls = len(path) and (_COUNTS := globals().setdefault('_COUNTS', "
            "{})).setdefault(path, 0)\n"
            "        self.tasks = 0\n",
        ),
        Edit(
            "worker/places.py",
            "        self.calls += 1\n",
            "        self.calls += 1\n        globals().setdefault('_COUNTS', {})[self.path] = self.calls\n",
        ),
    ),
    Mutant(
        15,
        "key found, digest not compared",
        1,
        Edit(
            "engine/engine.py",
            "if existing.digest != run.digest:",
            "if False:",
        ),
    ),
    Mutant(
        16,
        "digest with unsorted sets",
        14,
        Edit(
            "model/codec.py",
            "isinstance(node, _UNORDERED) for node in nodes",
            "False for node in nodes",
        ),
    ),
    Mutant(
        17,
        "default hash of the loop's tasks",
        8,
        Edit(
            "worker/durable_loop.py",
            "        self._log_destroy_pending = False\n\n    def __hash__(self) -> int:\n        return self._hash",
            "        self._log_destroy_pending = False\n"
            "\n"
            "    def __hash__(self) -> int:\n"
            "        return object.__hash__(self)",
        ),
    ),
    Mutant(
        23,
        "a call ignores its run's cancel request",
        18,
        Edit(
            "store/store.py",
            "    return is_under and row.parent_id",
            "    return False and is_under and row.parent_id",
        ),
    ),
    Mutant(
        24,
        "cancel misses grandchildren",
        741,
        Edit(
            "store/endings.py",
            "            self._outcome.flagged.extend(id for (id,) in found)\n",
            "",
        ),
    ),
    Mutant(
        33,
        "a timer one tick early",
        298,
        Edit(
            SQL,
            "name = 'sleep' AND priority = 0 AND available_at <= :now",
            "name = 'sleep' AND priority = 0 AND available_at <= :now + 1",
        ),
    ),
    Mutant(
        34,
        "the clock goes back with the wall",
        2,
        Edit(
            "model/clock.py",
            "        self._last = max(self._last, wall_ms)\n",
            "        self._last = wall_ms\n",
        ),
    ),
    Mutant(
        35,
        "the clock stands still",
        2,
        Edit(
            "model/clock.py",
            "            self._last += elapsed // 2\n",
            "            self._last += 0\n",
        ),
    ),
    Mutant(
        37,
        "the loser of a race stays open",
        204,
        Edit(
            "worker/workflow.py",
            "                self.outbox.drops.append(child_id)\n",
            "                pass\n",
        ),
    ),
    Mutant(
        38,
        "release for eviction without `consumed` = `delivered`",
        4,
        Edit(
            SQL,
            "  AND NOT EXISTS (SELECT 1 FROM parents p WHERE p.id = c.id AND p.delivered <> c.consumed)\n",
            "",
        ),
    ),
    Mutant(
        40,
        "a committed batch is sent again",
        20,
        Edit(
            "engine/writers.py",
            "if await store.committed_batch() == batch.number and unknown.outcome is not None:",
            "if False:",
        ),
    ),
    Mutant(
        41,
        "unknown owned rows are not released",
        9,
        Edit(
            "engine/sweeper.py",
            "            self._commands.release(id, epoch)\n",
            "            pass\n",
        ),
    ),
    Mutant(
        43,
        "the sweeper's command without its guard",
        47,
        Edit(
            SQL,
            "AND p.sealed = 1 AND p.open = 0\nJOIN runs r ON r.id = p.id AND {from:settle r}\n\n-- name: wake",
            "AND p.sealed = 1\nJOIN runs r ON r.id = p.id AND {from:settle r}\n\n-- name: wake",
        ),
    ),
    Mutant(
        44,
        "a place is not given back while waiting",
        1,
        Edit(
            "worker/worker.py",
            "            self._workflows_taken.in_hand -= 1\n            workflow.close()",
            "            workflow.close()",
        ),
    ),
)
