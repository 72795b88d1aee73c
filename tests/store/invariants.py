"""What holds in every store at every moment, as queries that return the ids of whatever breaks it."""

from typing import Any

from fanfold.model.run import HELD

COUNTED = f"""
  SELECT parent_id AS id, count(*) AS spawned, sum(finished_at IS NULL) AS open, sum(seq IS NOT NULL) AS delivered,
    sum(state = 'failed') AS failed, sum(state = 'cancelled') AS cancelled,
    sum(state = 'pending' AND available_at = {HELD}) AS held,
    sum(state = 'completed' AND seq IS NOT NULL) AS completed_before,
    sum(state = 'failed' AND seq IS NOT NULL) AS failed_before,
    sum(state = 'cancelled' AND seq IS NOT NULL) AS cancelled_before,
    min(seq) AS first, max(seq) AS last, count(DISTINCT seq) AS numbers
  FROM runs WHERE parent_id > 0 GROUP BY parent_id"""
# What was recorded with a group's end.
SUMMARY = "json_extract(coalesce(g.output, json_extract(g.error, '$.summary')), '$.{}')"
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
        WHERE (p.spawned, p.open, p.delivered, p.failed, p.cancelled, p.held) IS NOT
          (coalesce(c.spawned, 0), coalesce(c.open, 0), coalesce(c.delivered, 0), coalesce(c.failed, 0),
            coalesce(c.cancelled, 0), coalesce(c.held, 0))""",
    "3: deliveries are numbered 1 to n": f"""
        SELECT id FROM ({COUNTED}) WHERE delivered > 0 AND (first <> 1 OR last <> delivered OR numbers <> delivered)""",
    "3: whoever ended is delivered, but a timer that was dropped and a member whose group was decided": """
        SELECT c.id FROM runs c LEFT JOIN parents p ON p.id = c.parent_id
        WHERE c.parent_id > 0 AND (c.seq IS NULL) <> (c.finished_at IS NULL)
          AND NOT (c.kind = 'timer' AND c.state = 'cancelled' AND c.seq IS NULL)
          AND NOT (p.decided = 1 AND c.seq IS NULL)""",
    "4: who ended says when and how, and nobody else does": f"""
        SELECT id FROM runs WHERE (state IN {TERMINAL}) <> (finished_at IS NOT NULL)
          OR (output IS NOT NULL AND error IS NOT NULL)
          OR (finished_at IS NULL AND (seq IS NOT NULL OR error IS NOT NULL))
          OR (finished_at IS NULL AND output IS NOT NULL AND state <> 'waiting')""",
    "4: what waits has an output only if its body returned, or as a fold's value so far": """
        SELECT r.id FROM runs r LEFT JOIN parents p ON p.id = r.id
        WHERE r.state = 'waiting' AND r.output IS NOT NULL AND (r.kind = 'group' OR coalesce(p.sealed, 0) = 0)
          AND r.kind <> 'fold'""",
    "4: groups and folds wait until they end, or were to be cancelled before they began": """
        SELECT id FROM runs WHERE kind IN ('group', 'fold') AND finished_at IS NULL
          AND state <> 'waiting' AND cancel_requested_at IS NULL""",
    "5: a sealed run without open children is decided": """
        SELECT p.id FROM parents p JOIN runs r ON r.id = p.id
        WHERE p.sealed = 1 AND p.open = 0 AND r.finished_at IS NULL""",
    "5: groups are decided when they end, and nothing else is": """
        SELECT p.id FROM parents p JOIN runs r ON r.id = p.id
        WHERE p.decided <> (r.kind = 'group' AND r.finished_at IS NOT NULL)""",
    "5: a decided group's summary counts who had a place in it": f"""
        SELECT g.id FROM runs g LEFT JOIN ({COUNTED}) c ON c.id = g.id
        WHERE g.kind = 'group' AND g.state IN ('completed', 'failed') AND ({SUMMARY.format("completed")},
            {SUMMARY.format("failed")}, {SUMMARY.format("cancelled")}) IS NOT
          (coalesce(c.completed_before, 0), coalesce(c.failed_before, 0), coalesce(c.cancelled_before, 0))""",
    "5: a group has no fewer members than its summary says, and all of them if it completed": f"""
        SELECT g.id FROM runs g LEFT JOIN parents p ON p.id = g.id
        WHERE g.kind = 'group' AND g.state IN ('completed', 'failed')
          AND ({SUMMARY.format("spawned")} > coalesce(p.spawned, 0)
            OR g.state = 'completed' AND {SUMMARY.format("spawned")} <> p.spawned)""",
    "5: a digest counts each failed member once": """
        SELECT g.id FROM runs g WHERE g.kind = 'group' AND
          coalesce((SELECT sum(json_extract(value, '$.count')) FROM json_each(g.progress, '$.kinds')), 0)
            + coalesce(json_extract(g.progress, '$.other'), 0)
          <> (SELECT count(*) FROM runs m WHERE m.parent_id = g.id AND m.state = 'failed' AND m.seq IS NOT NULL)""",
    "5: no more members are at work than their group allows": """
        SELECT g.id FROM runs g WHERE g.kind = 'group' AND json_extract(g.options, '$.concurrency')
          < (SELECT count(*) FROM runs m WHERE m.parent_id = g.id AND m.state IN ('running', 'waiting'))""",
    "5: nobody is held back where there is room": """
        SELECT g.id FROM runs g JOIN parents p ON p.id = g.id
        WHERE g.kind = 'group' AND g.finished_at IS NULL
          AND p.held > 0 AND p.open - p.held < json_extract(g.options, '$.concurrency')""",
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
    "8: only tasks and workflows have attempts": """
        SELECT a.run_id FROM attempts a JOIN runs r ON r.id = a.run_id WHERE r.kind NOT IN ('task', 'workflow')""",
    "9: crashes are never negative": """
        SELECT id FROM runs WHERE crashes < 0""",
    "9: a body that returned is no suspect": """
        SELECT p.id FROM parents p JOIN runs r ON r.id = p.id
        WHERE p.sealed = 1 AND r.state = 'waiting' AND r.crashes <> 0""",
    "10: a fold has taken in no more members than ended": """
        SELECT f.id FROM runs f LEFT JOIN parents p ON p.id = json_extract(f.input, '$.group')
        WHERE f.kind = 'fold' AND json_extract(f.progress, '$.done') > coalesce(p.delivered, 0)""",
    "10: who completed has an output, but where a fold has taken it in": """
        SELECT m.id FROM runs m WHERE m.state = 'completed' AND m.kind IN ('task', 'workflow') AND m.output IS NULL
          AND m.same_as IS NULL
          AND NOT EXISTS (SELECT 1 FROM runs f WHERE f.kind = 'fold'
            AND json_extract(f.input, '$.group') = m.parent_id AND json_extract(f.progress, '$.done') >= m.seq)""",
    "12: consumed is at most delivered": """
        SELECT id FROM parents WHERE consumed > delivered""",
    "12: a workflow that left memory has seen everything": """
        SELECT p.id FROM parents p JOIN runs r ON r.id = p.id
        WHERE r.state = 'waiting' AND r.kind = 'workflow' AND p.sealed = 0 AND p.consumed <> p.delivered""",
    "4: a paused run says why": """
        SELECT id FROM runs WHERE (state = 'paused') <> (blocked IS NOT NULL) AND finished_at IS NULL""",
}
ALL = " UNION ALL ".join(f"SELECT {number} AS n, * FROM ({query})" for number, query in enumerate(INVARIANTS.values()))


def violations(connection: Any) -> list[tuple[str, int]]:
    """Return (invariant, id) for everything that breaks one."""
    names = list(INVARIANTS)
    return [(names[number], id) for number, id in connection.execute(ALL).fetchall()]
