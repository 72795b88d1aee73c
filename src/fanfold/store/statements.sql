-- Every statement that belongs to a change, once, for both databases; what only looks is in queries.sql.
-- `statements.py` fills the slots:
--   {each:name}    the rows of the JSON parameter :name, as e (key: place, value: row)
--   {int:n} {text:n}  column n of e's row        {rows: a, b}  all rows of the select as one JSON text
--   {from:event alias}  the guard of a transition  {to:event}  its target state, both from model/lifecycle.py
--   {terminal alias}    a test for ended runs       {lock}  row locks, where the database needs them
-- Booleans stay out of {rows: }: they are 1 here and true there. A select in parentheses has a name, for
-- PostgreSQL before 16. A parameter that is a text and no JSON is entered in postgres.py.
-- One JSON parameter a statement: measured as fast as binding row by row, and the interpreter runs beside it.

-- name: lock_parents
-- Deliveries are ordered under this lock: whoever ends a child takes it first, by id, so that nobody waits in a ring.
SELECT {rows: id, delivered, sealed, idle, is_group, held, decided} FROM (
  SELECT p.id, p.delivered, p.sealed, CASE WHEN {from:wake r} AND r.kind <> 'group' THEN 1 ELSE 0 END AS idle,
    CASE WHEN {from:decide r} AND r.kind = 'group' THEN 1 ELSE 0 END AS is_group, p.held, p.decided
  FROM parents p JOIN runs r ON r.id = p.id
  WHERE p.id IN (SELECT {int:0} FROM {each:ids}) ORDER BY p.id {lock}) found

-- name: insert_runs
-- The guard: a child needs a parent that still runs in the caller's epoch; a member of a group, that the owner does,
-- or the member that adds a sibling, and that the group is open. :doomed are rows under a cancel request. What is held
-- back comes due when its group has room.
INSERT INTO runs (id, root_id, parent_id, depth, key, kind, name, digest, state, epoch, attempt, crashes, owner,
  queue, priority, available_at, compensates, created_at, started_at, version, options, tags, input,
  cancel_requested_at, position)
SELECT {int:0}, {int:1}, {int:2}, {int:4}, {text:5}, {text:6}, {text:7}, {int:8}, {text:10},
  CASE WHEN {text:10} = {state:claim} THEN 1 ELSE 0 END, CASE WHEN {text:10} = {state:claim} THEN 1 ELSE 0 END, 0,
  CASE WHEN {text:10} = {state:claim} THEN :owner END, {text:12}, {int:13},
  CASE WHEN {int:20} = 1 THEN {held} ELSE :now + {int:11} END, {int:17}, :now,
  CASE WHEN {text:10} = {state:claim} THEN :now END, {text:14}, {text:15}, {text:16}, {text:9},
  CASE WHEN :doomed = 1 THEN :now END, {int:18}
FROM {each:rows}
WHERE {int:2} = 0 OR EXISTS (
  SELECT 1 FROM runs p WHERE p.id = {int:2} AND p.epoch = {int:3} AND {from:complete p})
  OR ({int:18} IS NOT NULL AND EXISTS (
    SELECT 1 FROM runs g JOIN runs p ON p.id = g.parent_id
    WHERE g.id = {int:2} AND {from:decide g} AND p.epoch = {int:3} AND {from:complete p}))
  OR ({int:19} > 0 AND EXISTS (
    SELECT 1 FROM runs g JOIN runs s ON s.parent_id = g.id
    WHERE g.id = {int:2} AND {from:decide g} AND s.id = {int:19} AND s.epoch = {int:3} AND {from:complete s}))
ON CONFLICT (parent_id, key, name) DO NOTHING

-- name: cancelled_above
-- Which of these parents and roots are asked to cancel: nothing starts under them any more but compensation.
SELECT {rows: id} FROM runs WHERE id IN (SELECT {int:0} FROM {each:ids}) AND cancel_requested_at IS NOT NULL

-- name: find_inserted
-- Counts first; the ids are read back only when a count is short.
SELECT {rows: id} FROM runs WHERE id IN (SELECT {int:0} FROM {each:ids})

-- name: find_by_key
-- Who holds the key that an insert ran into.
SELECT {rows: r.parent_id, r.key, r.name, r.id, r.digest, r.state}
FROM {each:keys} JOIN runs r ON r.parent_id = {int:0} AND r.key = {text:1} AND r.name = {text:2}

-- name: find_adoptable
-- Completed members of an earlier group, for the members of a new one that have their key and input; but for those
-- whose results were dropped.
SELECT {rows: n.id, n.parent_id, o.id, o.output} FROM {each:rows} JOIN runs n ON n.id = {int:0} AND {from:fire n}
JOIN runs o ON o.parent_id = {int:1} AND o.key = n.key AND o.name = n.name AND o.digest = n.digest
  AND o.state = {state:complete} AND o.output IS NOT NULL

-- name: note_same_as
-- Whose result an adopted run has.
UPDATE runs SET same_as = c.old FROM (SELECT {int:0} AS id, {int:1} AS old FROM {each:rows}) c WHERE runs.id = c.id

-- name: find_spawners
-- Which members may add others to their groups: they run, and nothing has decided the group.
SELECT {rows: s.id} FROM {each:rows} JOIN runs s ON s.id = {int:0} AND s.epoch = {int:1} AND {from:complete s}
JOIN runs g ON g.id = s.parent_id AND g.kind = 'group' AND {from:decide g}

-- name: raise_parents
-- Counted from the rows that this batch really inserted; a run gets its narrow row when its first child comes.
INSERT INTO parents (id, spawned, open, delivered, consumed, failed, cancelled, held, sealed, decided)
SELECT {int:0}, {int:1}, {int:1}, 0, 0, 0, 0, {int:2}, 0, 0 FROM {each:rows} WHERE true
ON CONFLICT (id) DO UPDATE SET spawned = parents.spawned + excluded.spawned, open = parents.open + excluded.open,
  held = parents.held + excluded.held

-- name: top_priority
-- The first probe of a claim: within one priority the index is in order of time.
SELECT priority FROM runs WHERE {from:claim runs} AND queue = :queue AND name = :name AND priority < :below
ORDER BY priority DESC LIMIT 1

-- name: claimable
-- Oldest first within a priority.
SELECT {rows: id} FROM (
  SELECT id FROM runs
  WHERE {from:claim runs} AND queue = :queue AND name = :name AND priority = :priority AND available_at <= :now
    AND crashes < :suspect
    AND (cancel_requested_at IS NULL OR (kind = 'workflow' AND epoch > 0))
  ORDER BY available_at, id LIMIT :most {skip_locked}) found

-- name: claimable_of
-- The same among given runs: children of a run that waits for them in this process, however full it is.
SELECT {rows: id} FROM (
  SELECT id FROM runs
  WHERE {from:claim runs} AND id IN (SELECT {int:0} FROM {each:ids}) AND available_at <= :now AND crashes < :suspect
    AND (cancel_requested_at IS NULL OR (kind = 'workflow' AND epoch > 0))
  ORDER BY id LIMIT :most {skip_locked}) found

-- name: claimable_suspect
-- The oldest of the runs that were at work in one dead process after the other.
SELECT {rows: id} FROM (
  SELECT id FROM runs
  WHERE {from:claim runs} AND crashes > 0 AND crashes >= :suspect AND crashes < :most_crashes AND available_at <= :now
    AND (cancel_requested_at IS NULL OR (kind = 'workflow' AND epoch > 0))
    AND name IN (SELECT {text:0} FROM {each:names})
  ORDER BY available_at, id LIMIT 1 {skip_locked}) found

-- name: find_doomed
-- What stands under a cancel request: only compensation starts there.
SELECT {rows: r.id} FROM {each:ids} JOIN runs r ON r.id = {int:0}
WHERE r.cancel_requested_at IS NULL AND r.compensates = 0
  AND EXISTS (SELECT 1 FROM runs p WHERE p.id IN (r.parent_id, r.root_id) AND p.cancel_requested_at IS NOT NULL)

-- name: open_above
-- Who stands between these and their root, if that was asked to cancel, and has not been asked itself; top down.
SELECT {rows: id} FROM (
  WITH RECURSIVE above (id) AS (
    SELECT r.parent_id FROM {each:ids} JOIN runs r ON r.id = {int:0} JOIN runs q ON q.id = r.root_id
    WHERE q.cancel_requested_at IS NOT NULL AND r.parent_id <> r.root_id
    UNION SELECT r.parent_id FROM above JOIN runs r ON r.id = above.id WHERE r.parent_id <> r.root_id)
  SELECT r.id FROM above JOIN runs r ON r.id = above.id
  WHERE r.finished_at IS NULL AND r.cancel_requested_at IS NULL AND r.compensates = 0 ORDER BY r.depth, r.id) found

-- name: claim
-- The epoch rises at every claim: whatever an earlier holder still writes is refused from here on.
UPDATE runs SET {to:claim}, owner = :owner, epoch = epoch + 1,
  attempt = CASE WHEN attempt = 0 THEN 1 ELSE attempt END, started_at = coalesce(started_at, :now)
WHERE {from:claim runs} AND id IN (SELECT {int:0} FROM {each:ids})

-- name: read_claimed
-- What a worker needs to know to start a body.
SELECT {rows: r.id, r.root_id, r.parent_id, r.epoch, r.attempt, r.crashes, r.depth, r.key, r.kind, r.name, r.queue,
  r.priority, r.input, r.options, r.version, r.tags, r.compensates, r.created_at,
  CASE WHEN p.id IS NULL THEN 0 ELSE 1 END, coalesce(p.consumed, 0), CASE WHEN g.kind = 'group' THEN 1 ELSE 0 END}
FROM {each:ids} JOIN runs r ON r.id = {int:0} LEFT JOIN parents p ON p.id = r.id LEFT JOIN runs g ON g.id = r.parent_id

-- name: note_progress
-- A run that got on is no suspect: only deaths without progress count against it.
UPDATE runs SET crashes = 0, progress = coalesce(c.progress, runs.progress)
FROM (SELECT {int:0} AS id, {int:1} AS epoch, {text:2} AS progress FROM {each:rows}) c
WHERE runs.id = c.id AND runs.epoch = c.epoch AND {from:complete runs}

-- name: record_attempts
-- A failed attempt is kept for people; the run itself goes on.
INSERT INTO attempts (run_id, attempt, epoch, finished_at, error)
SELECT r.id, r.attempt, r.epoch, :now, {text:3} FROM {each:rows} JOIN runs r ON r.id = {int:0} AND r.epoch = {int:1}
WHERE {from:retry r}

-- name: retry_runs
-- Back to where it can be claimed, after its delay; the next claim raises the epoch.
UPDATE runs SET {to:retry}, owner = NULL, attempt = runs.attempt + 1, crashes = 0, available_at = :now + c.delay
FROM (SELECT {int:0} AS id, {int:1} AS epoch, {int:2} AS delay FROM {each:rows}) c
WHERE runs.id = c.id AND runs.epoch = c.epoch AND {from:retry runs}

-- name: find_retried
-- Read back when a count is short: only a retry leaves a failed attempt of the epoch in which the run still is.
SELECT {rows: r.id} FROM {each:rows} JOIN runs r ON r.id = {int:0} AND r.epoch = {int:1}
JOIN attempts a ON a.run_id = r.id AND a.attempt = r.attempt - 1 AND a.epoch = r.epoch WHERE {from:claim r}

-- name: end_runs
-- The one way to end: guarded by epoch and state, numbered in the parent's order of delivery in the same statement.
-- Whoever ends after its group was decided has no place in it any more.
UPDATE runs SET state = c.state, output = c.output, error = c.error, seq = c.seq, owner = NULL, finished_at = :now
FROM (
  SELECT r.id, {text:3} AS state, {text:4} AS output, {text:5} AS error,
    CASE WHEN r.parent_id > 0 AND p.decided = 0
      THEN p.delivered + row_number() OVER (PARTITION BY r.parent_id ORDER BY e.key) END AS seq
  FROM {each:rows} JOIN runs r ON r.id = {int:0} AND r.epoch = {int:1} AND r.state = :from_state
  LEFT JOIN parents p ON p.id = r.parent_id) c
WHERE runs.id = c.id

-- name: end_run
-- The same for a single run: a chain of tasks ends one at a time, and JSON with a window costs 30 times this.
UPDATE runs SET state = :state, output = :output, error = :error, owner = NULL, finished_at = :now,
  seq = (SELECT p.delivered + 1 FROM parents p WHERE p.id = runs.parent_id AND p.decided = 0)
WHERE id = :id AND epoch = :epoch AND state = :from_state

-- name: find_ending
-- Looked at before, where the places cannot tell afterwards: a member of a decided group gets none.
SELECT {rows: r.id} FROM {each:rows} JOIN runs r ON r.id = {int:0} AND r.epoch = {int:1} AND r.state = :from_state

-- name: find_ended
-- Read back when a count is short: which ends were accepted. What its parent has counted already ended before.
SELECT {rows: r.id} FROM {each:rows} JOIN runs r ON r.id = {int:0} AND r.epoch = {int:1}
LEFT JOIN parents p ON p.id = r.parent_id
WHERE r.finished_at = :now AND r.state = {text:3} AND r.owner IS NULL AND (r.parent_id = 0 OR p.decided = 1 OR r.seq > p.delivered)

-- name: lower_parents
-- One update a parent and batch, not one a child: joins are decided by this counter, never by a query.
UPDATE parents SET open = parents.open - c.ended, delivered = parents.delivered + c.delivered,
  failed = parents.failed + c.failed, cancelled = parents.cancelled + c.cancelled
FROM (SELECT {int:0} AS id, {int:1} AS ended, {int:2} AS delivered, {int:3} AS failed, {int:4} AS cancelled
  FROM {each:rows}) c
WHERE parents.id = c.id

-- name: return_runs
-- A body returned while children are open: its output is kept, nobody holds it, the last child completes it.
UPDATE runs SET {to:return}, owner = NULL, crashes = 0, output = c.output
FROM (SELECT {int:0} AS id, {int:1} AS epoch, {text:4} AS output FROM {each:rows}) c
WHERE runs.id = c.id AND runs.epoch = c.epoch AND {from:return runs}
  AND EXISTS (SELECT 1 FROM parents p WHERE p.id = c.id AND p.open > 0)

-- name: find_returned
-- Which of the returned bodies wait for children; the others end in this batch. Who left memory waits as well, without
-- an output; who returned before is sealed.
SELECT {rows: r.id} FROM {each:rows} JOIN runs r ON r.id = {int:0} AND r.epoch = {int:1} AND {from:settle r}
JOIN parents p ON p.id = r.id AND p.sealed = 0 WHERE r.output IS NOT NULL

-- name: seal_parents
-- A sealed parent makes no more children and takes no more deliveries.
UPDATE parents SET sealed = 1 WHERE id IN (SELECT {int:0} FROM {each:ids})

-- name: seal_groups
-- A group takes no more members from its owner; one without a member gets its narrow row now.
INSERT INTO parents (id, spawned, open, delivered, consumed, failed, cancelled, held, sealed, decided)
SELECT g.id, 0, 0, 0, 0, 0, 0, 0, 1, 0 FROM {each:rows} JOIN runs g ON g.id = {int:0} AND g.kind = 'group' AND {from:settle g}
JOIN runs p ON p.id = g.parent_id AND p.epoch = {int:1} AND {from:complete p} WHERE true
ON CONFLICT (id) DO UPDATE SET sealed = 1

-- name: find_failing
-- Groups that fail by what their owner says: it cannot make the items.
SELECT {rows: g.id} FROM {each:rows}
JOIN runs g ON g.id = {int:0} AND g.kind = 'group' AND {from:decide g}
JOIN runs p ON p.id = g.parent_id AND p.epoch = {int:1} AND {from:complete p}

-- name: find_groups
-- Groups that are not decided, with their policies and how they stand.
SELECT {rows: r.id, r.epoch, r.parent_id, r.options, r.progress, p.spawned, p.open, p.failed, p.cancelled, p.held, p.sealed}
FROM {each:ids} JOIN runs r ON r.id = {int:0} AND r.kind = 'group' AND {from:decide r} JOIN parents p ON p.id = r.id

-- name: find_names
-- What people know members by.
SELECT {rows: id, key, position} FROM runs WHERE id IN (SELECT {int:0} FROM {each:ids})

-- name: note_failures
-- A group's digest of its failures, kept in the transaction that ends its members.
UPDATE runs SET progress = c.digest FROM (SELECT {int:0} AS id, {text:1} AS digest FROM {each:rows}) c
WHERE runs.id = c.id

-- name: find_settled
-- Sealed parents whose last child has ended, with what they returned.
SELECT {rows: r.id, r.epoch, r.parent_id, coalesce(r.output, 'null'), CASE WHEN r.kind = 'group' THEN 1 ELSE 0 END}
FROM {each:ids} JOIN parents p ON p.id = {int:0} AND p.sealed = 1 AND p.open = 0
JOIN runs r ON r.id = p.id AND {from:settle r}

-- name: mark_decided
-- A group is decided once: members that end later change its counters and nothing else.
UPDATE parents SET decided = 1
WHERE id IN (SELECT {int:0} FROM {each:ids})
  AND EXISTS (SELECT 1 FROM runs r WHERE r.id = parents.id AND r.kind = 'group' AND {from:decide r})

-- name: release_held
-- Members that were held back come due, oldest first, as far as their group has room.
UPDATE runs SET available_at = :now
WHERE id IN (SELECT r.id FROM runs r WHERE r.parent_id = :group_id AND {from:claim r} AND r.available_at = {held}
  ORDER BY r.id LIMIT :room)

-- name: lower_held
-- So many fewer are held back.
UPDATE parents SET held = parents.held - c.number
FROM (SELECT {int:0} AS id, {int:1} AS number FROM {each:rows}) c WHERE parents.id = c.id

-- name: find_held
-- Which of these are held back by their groups.
SELECT {rows: r.id, r.parent_id} FROM {each:rows} JOIN runs r ON r.id = {int:0} AND r.epoch = {int:1}
WHERE {from:claim r} AND r.available_at = {held}

-- name: checkpoint
-- How far a fold is: its value and the last member that is in it, at once, or a member would count twice or never.
UPDATE runs SET output = c.output, progress = c.progress
FROM (SELECT {int:0} AS id, {int:1} AS epoch, {text:2} AS output, {text:3} AS progress FROM {each:rows}) c
WHERE runs.id = c.id AND runs.kind = 'fold' AND {from:settle runs}
  AND EXISTS (SELECT 1 FROM runs p WHERE p.id = runs.parent_id AND p.epoch = c.epoch AND {from:complete p})

-- name: drop_values
-- What a fold has taken in is not kept, where its group says so; failures are.
UPDATE runs SET output = NULL
FROM (SELECT {int:2} AS group_id, {int:3} AS behind, {int:4} AS upto
  FROM {each:rows} JOIN runs f ON f.id = {int:0} AND f.kind = 'fold' AND f.progress = {text:1}) c
WHERE runs.parent_id = c.group_id AND runs.seq > c.behind AND runs.seq <= c.upto AND runs.output IS NOT NULL

-- name: find_folds
-- Folds that are over, by what their owner says.
SELECT {rows: f.id, f.epoch, f.parent_id} FROM {each:rows}
JOIN runs f ON f.id = {int:0} AND f.kind = 'fold' AND {from:settle f}
JOIN runs p ON p.id = f.parent_id AND p.epoch = {int:1} AND {from:complete p}

-- name: wake
-- Something was delivered to a workflow that left memory: it becomes claimable in the same transaction.
UPDATE runs SET {to:wake}, available_at = :now
WHERE {from:wake runs} AND owner IS NULL AND kind <> 'group' AND id IN (SELECT {int:0} FROM {each:ids})
  AND EXISTS (SELECT 1 FROM parents p WHERE p.id = runs.id AND p.sealed = 0 AND p.delivered > p.consumed)

-- name: evict
-- A workflow leaves memory only if it has seen everything that was delivered; otherwise it would sleep for ever.
UPDATE runs SET {to:evict}, owner = NULL
FROM (SELECT {int:0} AS id, {int:1} AS epoch, {int:2} AS consumed FROM {each:rows}) c
WHERE runs.id = c.id AND runs.epoch = c.epoch AND {from:evict runs}
  AND NOT EXISTS (SELECT 1 FROM parents p WHERE p.id = c.id AND p.delivered <> c.consumed)

-- name: consume
-- How far the evicted have read: everything, or they had not been let go.
UPDATE parents SET consumed = c.consumed
FROM (SELECT {int:0} AS id, {int:1} AS epoch, {int:2} AS consumed FROM {each:rows}) c
WHERE parents.id = c.id AND parents.delivered = c.consumed AND parents.sealed = 0
  AND EXISTS (SELECT 1 FROM runs r WHERE r.id = c.id AND r.epoch = c.epoch AND {from:wake r})

-- name: find_evicted
-- Which evictions were accepted. Bodies that returned wait as well, sealed.
SELECT {rows: r.id} FROM {each:rows} JOIN runs r ON r.id = {int:0} AND r.epoch = {int:1} AND {from:wake r}
LEFT JOIN parents p ON p.id = r.id WHERE coalesce(p.sealed, 0) = 0

-- name: block
-- The code no longer fits the record: the run stands still, with the reason, until somebody resumes it.
UPDATE runs SET {to:block}, owner = NULL, blocked = c.reason
FROM (SELECT {int:0} AS id, {int:1} AS epoch, {text:2} AS reason FROM {each:rows}) c
WHERE runs.id = c.id AND runs.epoch = c.epoch AND {from:block runs}

-- name: find_dropped
-- Whose timers can still be dropped, with their parents.
SELECT {rows: id, parent_id} FROM runs
WHERE id IN (SELECT {int:0} FROM {each:ids}) AND {from:drop runs} AND kind = 'timer'

-- name: find_blocked
-- Which of these now stand still.
SELECT {rows: r.id} FROM {each:rows} JOIN runs r ON r.id = {int:0} AND r.epoch = {int:1} AND {from:resume r}

-- name: drop_timers
-- A timer that nobody waits for any more takes no place in the order of delivery.
UPDATE runs SET {to:drop}, finished_at = :now WHERE id IN (SELECT {int:0} FROM {each:ids})

-- name: due_timers
-- Timers that are due, in order of their due times.
SELECT {rows: id, epoch, parent_id} FROM (
  SELECT id, epoch, parent_id FROM runs
  WHERE {from:fire runs} AND queue = '' AND name = 'sleep' AND priority = 0 AND available_at <= :now AND kind = 'timer'
  ORDER BY available_at, id LIMIT :most) found

-- name: next_timer
-- When the engine must look again.
SELECT min(available_at) FROM runs
WHERE {from:fire runs} AND queue = '' AND name = 'sleep' AND priority = 0 AND kind = 'timer'

-- name: flag
-- A cancel is a durable request: the flag comes first, what it means for the run afterwards.
UPDATE runs SET cancel_requested_at = :now
WHERE cancel_requested_at IS NULL AND finished_at IS NULL AND id IN (SELECT {int:0} FROM {each:ids})

-- name: flag_children
-- Who fails or is cancelled asks its open children to cancel in the same commit; compensation is left alone, but
-- what compensation itself has started when it is asked.
UPDATE runs SET cancel_requested_at = :now
WHERE cancel_requested_at IS NULL AND finished_at IS NULL
  AND (compensates = 0 OR EXISTS (SELECT 1 FROM runs p
    WHERE p.id = runs.parent_id AND p.compensates = 1 AND p.cancel_requested_at IS NOT NULL))
  AND parent_id IN (SELECT {int:0} FROM {each:ids})

-- name: find_flagged
-- What stands behind a cancel request: how it is carried out depends on the kind and on how far the run is.
SELECT {rows: r.id, r.epoch, r.parent_id, r.root_id, r.depth, r.kind, r.state, {int:1}, p.sealed}
FROM {each:rows} JOIN runs r ON r.id = {int:0} AND r.finished_at IS NULL AND r.cancel_requested_at IS NOT NULL
LEFT JOIN parents p ON p.id = r.id

-- name: count_cancels
-- How often a workflow was told to cancel.
SELECT count(*) FROM runs WHERE parent_id = :id AND key >= 'x:' AND key < 'x;'

-- name: flag_compensation
-- Asked a second time, a run's compensation is asked to cancel as well.
UPDATE runs SET cancel_requested_at = :now
WHERE cancel_requested_at IS NULL AND finished_at IS NULL AND compensates = 1 AND kind <> 'event'
  AND parent_id IN (SELECT {int:0} FROM {each:ids})

-- name: insert_cancels
-- To a workflow a cancel is a delivery like any other, so that replay raises it at the same place. Once a request.
INSERT INTO runs (id, root_id, parent_id, depth, key, kind, name, digest, state, epoch, attempt, crashes, queue,
  priority, available_at, compensates, created_at, version)
SELECT {int:0}, {int:1}, {int:2}, {int:3}, {text:4}, 'event', 'cancel', 0, {state:release}, 0, 0, 0, '', 0, :now, 1, :now, '0'
FROM {each:rows} WHERE true ON CONFLICT (parent_id, key, name) DO NOTHING

-- name: open_children
-- Whom an ended parent has just asked to cancel.
SELECT {rows: id} FROM (
  SELECT id FROM runs
  WHERE finished_at IS NULL AND cancel_requested_at = :now AND parent_id IN (SELECT {int:0} FROM {each:ids})
  ORDER BY id) found

-- name: write_meta
-- The number of the batch, in its own transaction: an unknown outcome is looked up here.
UPDATE meta SET commit_sequence = :batch, clock_ms = :now,
  next_id = CASE WHEN next_id < :next_id THEN :next_id ELSE next_id END

-- name: insert_meta
-- Once, when the store is made.
INSERT INTO meta (schema_version, store_id, next_id, commit_sequence, clock_ms) VALUES (:version, :store_id, 1, 0, 0)

-- name: release_all
-- Recovery: what a dead process held is claimable again, at once, and its epoch has moved on.
UPDATE runs SET {to:release}, owner = NULL, epoch = epoch + 1, available_at = :now WHERE {from:release runs}

-- name: accuse
-- The death counts against what was at work; most of what a process had claimed had not begun.
UPDATE runs SET crashes = crashes + 1 WHERE {from:claim runs} AND id IN (SELECT {int:0} FROM {each:ids})

-- name: release
-- A worker gives back what it has not finished, or does not know; not what was claimed again since it looked.
UPDATE runs SET {to:release}, owner = NULL, epoch = c.epoch + 1, available_at = :now, crashes = runs.crashes + c.crashes
FROM (SELECT {int:0} AS id, {int:1} AS epoch, {int:2} AS crashes FROM {each:rows}) c
WHERE runs.id = c.id AND runs.epoch = c.epoch AND {from:release runs}

-- name: resume
-- A run that stands still tries again; its whole tree does, for a child may be what stands still.
UPDATE runs SET {to:resume}, blocked = NULL, available_at = :now
WHERE {from:resume runs} AND root_id IN (SELECT {int:0} FROM {each:ids})
