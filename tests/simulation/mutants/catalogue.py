"""The planted bugs, by the numbers of docs/guarantees.md: what is broken, and by which text.

`seeds.py` has the seed that finds each; `python -m tests.simulation.mutants --rehunt` writes it.
"""

from tests.simulation.mutants.mutant import READS, SQL, Edit, Mutant

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        1,
        "complete without the epoch guard",
        Edit(
            SQL,
            "JOIN runs r ON r.id = {int:0} AND r.epoch = {int:1} AND r.state = :from_state\n  LEFT",
            "JOIN runs r ON r.id = {int:0} AND r.state = :from_state\n  LEFT",
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
        Edit(
            SQL,
            "JOIN runs r ON r.id = {int:0} AND r.epoch = {int:1} AND r.state = :from_state\n  LEFT",
            "JOIN runs r ON r.id = {int:0} AND r.epoch = {int:1} AND :from_state = :from_state\n  LEFT",
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
        Edit(
            "worker/desk.py",
            "        self._engine.commits.spawn((new,))\n",
            "        self._engine.commits.spawn((new,))\n"
            "        if new.state == 'running':\n"
            "            self._engine._listener.on_inserted(new, self._engine.clock.now_ms())\n",
        ),
    ),
    Mutant(
        5,
        "a failed batch taken for committed",
        Edit(
            "engine/writers.py",
            "return outcome if last == batch.number else None",
            "return outcome",
        ),
    ),
    Mutant(
        6,
        "after a rollback by the database the rest of the batch runs on alone",
        Edit(
            "store/sqlite.py",
            "if not self._connection.in_transaction:\n            # A full disk",
            "if False:\n            # A full disk",
        ),
    ),
    Mutant(
        7,
        "`open` not lowered on failure",
        Edit(
            "store/endings.py",
            "rows.append((id, len(group), delivered,",
            "rows.append((id, sum(end.state != lifecycle.FAILED for end in group), delivered,",
        ),
    ),
    Mutant(
        8,
        "`spawned` raised by rows sent, not by rows inserted",
        Edit(
            "store/store.py",
            "            new = [row for row in new if row.id in there]\n",
            "",
        ),
    ),
    Mutant(
        9,
        "recovery keeps the old epoch",
        Edit(
            SQL,
            "UPDATE runs SET {to:release}, owner = NULL, epoch = epoch + 1, available_at",
            "UPDATE runs SET {to:release}, owner = NULL, available_at",
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
        Edit(
            "engine/engine.py",
            "self._timers.set(recovery.next_timer)",
            "self._timers.set(None)",
        ),
    ),
    Mutant(
        11,
        "deliveries replayed in id order",
        Edit(
            READS,
            "WHERE parent_id = :parent_id AND seq > :after ORDER BY seq LIMIT :most)",
            "WHERE parent_id = :parent_id AND seq > :after ORDER BY id LIMIT :most)",
        ),
    ),
    Mutant(
        12,
        "two deliveries resolved before stepping",
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
        13,
        "equal calls not counted in content identity",
        Edit(
            "model/keys.py",
            'return f"{CONTENT}:{content}:{count}"',
            'return f"{CONTENT}:{content}:{count * 0}"',
        ),
    ),
    Mutant(
        14,
        "call counter not reset on replay",
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
        Edit(
            "engine/engine.py",
            "if existing.digest != run.digest:",
            "if False:",
        ),
    ),
    Mutant(
        16,
        "digest with unsorted sets",
        Edit(
            "model/codec.py",
            "not any(shape.is_unordered or shape.has_moments",
            "not any(shape.has_moments",
        ),
    ),
    Mutant(
        17,
        "default hash of the loop's tasks",
        Edit(
            "worker/durable_tasks.py",
            "        self._log_destroy_pending = False\n\n    def __hash__(self) -> int:\n        return self._hash",
            "        self._log_destroy_pending = False\n"
            "\n"
            "    def __hash__(self) -> int:\n"
            "        return object.__hash__(self)",
        ),
    ),
    Mutant(
        18,
        "durable calls from a dead frame",
        Edit(
            "worker/bodies.py",
            "body.epoch != epoch or body.is_dead else",
            "body.epoch != epoch else",
        ),
        Edit(
            "worker/calls.py",
            "        if self.is_closed:\n            raise Evicted\n",
            "",
        ),
        Edit(
            "worker/calls.py",
            "        if self.is_closed:\n            return\n        if new is not None:",
            "        if new is not None:",
        ),
    ),
    Mutant(
        20,
        "an attempt is lost in a crash",
        Edit(
            SQL,
            "owner = NULL, epoch = epoch + 1, available_at = :now WHERE",
            "owner = NULL, epoch = epoch + 1, available_at = :now, attempt = min(attempt, 1) WHERE",
        ),
    ),
    Mutant(
        21,
        "the crash counter is never reset",
        Edit(
            SQL,
            "UPDATE runs SET crashes = 0, progress =",
            "UPDATE runs SET progress =",
        ),
        Edit(
            SQL,
            "attempt = runs.attempt + 1, crashes = 0, available_at",
            "attempt = runs.attempt + 1, available_at",
        ),
    ),
    Mutant(
        22,
        "a retry runs before its delay",
        Edit(
            SQL,
            "available_at = :now + c.delay",
            "available_at = :now + c.delay / 2",
        ),
    ),
    Mutant(
        23,
        "a call ignores its run's cancel request",
        Edit(
            "store/store.py",
            "    return is_under and row.parent_id",
            "    return False and is_under and row.parent_id",
        ),
    ),
    Mutant(
        24,
        "cancel misses grandchildren",
        Edit(
            "store/endings.py",
            "            self._outcome.flagged.extend(id for (id,) in found)\n",
            "",
        ),
    ),
    Mutant(
        25,
        "cancel walks bottom-up",
        Edit(
            SQL,
            "-- name: open_children\n",
            "-- name: unasked_children\n"
            "SELECT {rows: parent_id, id} FROM (\n"
            "  SELECT parent_id, id FROM runs WHERE finished_at IS NULL AND cancel_requested_at IS NULL\n"
            "    AND compensates = 0 AND kind <> 'timer' AND parent_id IN (SELECT {int:0} FROM {each:ids})) found\n\n"
            "-- name: open_children\n",
        ),
        Edit(
            "store/cancels.py",
            "        again = {id for (id,) in before}\n",
            "        again = {id for (id,) in before}\n"
            '        below = await self._tx.rows("unasked_children", ids=keyed(cancel.id for cancel in cancels))\n'
            "        above = {parent for parent, _ in below}\n"
            "        self._outcome.flagged.extend([*(id for _, id in below), *above])\n"
            "        cancels = [cancel for cancel in cancels if cancel.id not in above]\n",
        ),
    ),
    Mutant(
        33,
        "a timer one tick early",
        Edit(
            SQL,
            "name = 'sleep' AND priority = 0 AND available_at <= :now",
            "name = 'sleep' AND priority = 0 AND available_at <= :now + 1",
        ),
    ),
    Mutant(
        34,
        "the clock goes back with the wall",
        Edit(
            "model/clock.py",
            "        self._last = max(self._last, wall_ms)\n",
            "        self._last = wall_ms\n",
        ),
    ),
    Mutant(
        35,
        "the clock stands still",
        Edit(
            "model/clock.py",
            "            self._last += elapsed // 2\n",
            "            self._last += 0\n",
        ),
    ),
    Mutant(
        37,
        "the loser of a race stays open",
        Edit(
            "worker/workflow.py",
            "                self.outbox.drop(child_id)\n        error =",
            "                pass\n        error =",
        ),
    ),
    Mutant(
        38,
        "release for eviction without `consumed` = `delivered`",
        Edit(
            SQL,
            "  AND NOT EXISTS (SELECT 1 FROM parents p WHERE p.id = c.id AND p.delivered <> c.consumed)\n",
            "",
        ),
    ),
    Mutant(
        39,
        "lists ordered by id",
        Edit(
            READS,
            "  SELECT seq, id, key, position, name, state, output, error FROM runs\n",
            "  SELECT seq, id, key, id AS position, name, state, output, error FROM runs\n",
        ),
    ),
    Mutant(
        40,
        "a committed batch is sent again",
        Edit(
            "engine/writers.py",
            "return outcome if last == batch.number else None",
            "return None",
        ),
    ),
    Mutant(
        41,
        "unknown owned rows are not released",
        Edit(
            "engine/sweeper.py",
            "            self._commands.release(id, epoch)\n",
            "            pass\n",
        ),
    ),
    Mutant(
        42,
        "the high-water mark of ids is not written with the commit",
        Edit(
            SQL,
            "CASE WHEN next_id < :next_id THEN :next_id ELSE next_id END",
            "CASE WHEN next_id < :next_id THEN next_id ELSE next_id END",
        ),
    ),
    Mutant(
        43,
        "the sweeper's command without its guard",
        Edit(
            SQL,
            "AND p.sealed = 1 AND p.open = 0\nJOIN runs r ON r.id = p.id AND {from:settle r}\n\n-- name: mark_decided",
            "AND p.sealed = 1\nJOIN runs r ON r.id = p.id AND {from:settle r}\n\n-- name: mark_decided",
        ),
    ),
    Mutant(
        44,
        "a place is not given back while waiting",
        Edit(
            "worker/desk.py",
            "        self.executors.of(body).let_go(body)\n",
            "",
        ),
    ),
)
