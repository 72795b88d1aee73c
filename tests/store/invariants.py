"""What holds in every store at every moment, as queries that return the ids of whatever breaks it."""

from typing import Any

COUNTED = """
  SELECT parent_id AS id, count(*) AS spawned, sum(finished_at IS NULL) AS open, sum(seq IS NOT NULL) AS delivered,
    sum(state = 'failed') AS failed, sum(state = 'cancelled') AS cancelled,
    min(seq) AS first, max(seq) AS last, count(DISTINCT seq) AS numbers
  FROM runs WHERE parent_id > 0 GROUP BY parent_id"""
TERMINAL = "('completed', 'failed', 'cancelled')"

INVARIANTS = {
    "1: an identity is taken once": """
        SELECT min(id) FROM runs WHERE key IS NOT NULL GROUP BY parent_id, key, name HAVING count(*) > 1""",
    "1: every parent exists, and depth and root follow from it": """
        SELECT c.id FROM runs c LEFT JOIN runs p ON p.id = c.parent_id
        WHERE CASE WHEN c.parent_id = 0 THEN c.root_id <> c.id OR c.depth <> 0
          ELSE p.id IS NULL OR c.root_id <> p.root_id OR c.depth <> p.depth + 1 END""",
    "2: the counters count": f"""
        SELECT coalesce(p.id, c.id) FROM parents p FULL JOIN ({COUNTED}) c ON c.id = p.id
        WHERE (p.spawned, p.open, p.delivered, p.failed, p.cancelled) IS NOT
          (coalesce(c.spawned, 0), coalesce(c.open, 0), coalesce(c.delivered, 0), coalesce(c.failed, 0),
            coalesce(c.cancelled, 0))""",
    "3: deliveries are numbered 1 to n": f"""
        SELECT id FROM ({COUNTED}) WHERE delivered > 0 AND (first <> 1 OR last <> delivered OR numbers <> delivered)""",
    "3: whoever ended is delivered, but a timer that was dropped": """
        SELECT id FROM runs WHERE parent_id > 0 AND (seq IS NULL) <> (finished_at IS NULL)
          AND NOT (kind = 'timer' AND state = 'cancelled' AND seq IS NULL)""",
    "4: who ended says when and how, and nobody else does": f"""
        SELECT id FROM runs WHERE (state IN {TERMINAL}) <> (finished_at IS NOT NULL)
          OR (output IS NOT NULL AND error IS NOT NULL)
          OR (finished_at IS NULL AND (seq IS NOT NULL OR error IS NOT NULL))
          OR (finished_at IS NULL AND output IS NOT NULL AND state <> 'waiting')""",
    "5: a sealed run without open children is decided": """
        SELECT p.id FROM parents p JOIN runs r ON r.id = p.id
        WHERE p.sealed = 1 AND p.open = 0 AND r.finished_at IS NULL""",
    "6: who runs is held, and nobody else": """
        SELECT id FROM runs WHERE (state = 'running') <> (owner IS NOT NULL)""",
    "7: below a failed or cancelled run the rest is asked to cancel": """
        SELECT c.id FROM runs c JOIN runs p ON p.id = c.parent_id
        WHERE p.state IN ('failed', 'cancelled') AND c.finished_at IS NULL AND c.compensates = 0
          AND c.cancel_requested_at IS NULL""",
    "7: below a completed run everything has ended": """
        SELECT c.id FROM runs c JOIN runs p ON p.id = c.parent_id
        WHERE p.state = 'completed' AND c.finished_at IS NULL""",
    "8: whoever was claimed has an attempt and an epoch": """
        SELECT id FROM runs WHERE (attempt > 0) <> (started_at IS NOT NULL) OR attempt > epoch + 1
          OR (state = 'running' AND epoch < 1)""",
    "8: all attempts but the one at hand have failed, and are recorded from 1 on": """
        SELECT r.id FROM runs r LEFT JOIN (
          SELECT run_id, count(*) AS failed, min(attempt) AS first, max(attempt) AS last FROM attempts GROUP BY run_id
        ) a ON a.run_id = r.id
        WHERE coalesce(a.failed, 0) <> max(r.attempt - 1, 0) OR a.first <> 1 OR a.last <> a.failed""",
    "8: an attempt was made by a run, after it started and before it ended": """
        SELECT a.run_id FROM attempts a LEFT JOIN runs r ON r.id = a.run_id
        WHERE r.id IS NULL OR a.finished_at NOT BETWEEN r.started_at AND coalesce(r.finished_at, a.finished_at)""",
    "8: timers and events have no attempts": """
        SELECT a.run_id FROM attempts a JOIN runs r ON r.id = a.run_id WHERE r.kind IN ('timer', 'event')""",
    "9: crashes are never negative": """
        SELECT id FROM runs WHERE crashes < 0""",
    "9: a body that returned is no suspect": """
        SELECT p.id FROM parents p JOIN runs r ON r.id = p.id
        WHERE p.sealed = 1 AND r.state = 'waiting' AND r.crashes <> 0""",
    "12: consumed is at most delivered": """
        SELECT id FROM parents WHERE consumed > delivered""",
    "12: a workflow that left memory has seen everything": """
        SELECT p.id FROM parents p JOIN runs r ON r.id = p.id
        WHERE r.state = 'waiting' AND p.sealed = 0 AND p.consumed <> p.delivered""",
    "4: a paused run says why": """
        SELECT id FROM runs WHERE (state = 'paused') <> (blocked IS NOT NULL) AND finished_at IS NULL""",
}
ALL = " UNION ALL ".join(f"SELECT {number} AS n, * FROM ({query})" for number, query in enumerate(INVARIANTS.values()))


def violations(connection: Any) -> list[tuple[str, int]]:
    """Return (invariant, id) for everything that breaks one."""
    names = list(INVARIANTS)
    return [(names[number], id) for number, id in connection.execute(ALL).fetchall()]
