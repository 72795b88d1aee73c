-- Every statement that only looks, once, for both databases; the slots are those of statements.sql. Each is short and
-- bounded, or answered from an index that holds only what it looks for. The last two mend what `fanfold doctor` finds.

-- name: pending_queues
-- Each queue in which something is pending, by jumps along the index: a call may name a queue that no task has.
WITH RECURSIVE pending (queue) AS (
  SELECT min(queue) FROM runs WHERE {from:claim runs} AND queue > ''
  UNION ALL
  SELECT (SELECT min(r.queue) FROM runs r WHERE {from:claim r} AND r.queue > pending.queue)
  FROM pending WHERE pending.queue IS NOT NULL)
SELECT {rows: queue} FROM pending WHERE queue IS NOT NULL

-- name: next_available
-- When the next delayed run may be claimed; asked at start and when the last such alarm rang.
SELECT min(available_at) FROM runs WHERE {from:claim runs} AND queue <> '' AND available_at > :now AND available_at < {held}

-- name: flagged
-- Requests that were not carried out when a process died.
SELECT {rows: id} FROM (
  SELECT id FROM runs WHERE cancel_requested_at > 0 AND finished_at IS NULL ORDER BY +id) found

-- name: read_meta
-- What an engine needs to know at start.
SELECT {rows: schema_version, store_id, next_id, commit_sequence, clock_ms} FROM meta

-- name: find_behind
-- Recovery and sweep: workflows out of memory to which something was delivered.
SELECT {rows: p.id} FROM parents p CROSS JOIN runs r
WHERE r.id = p.id AND p.delivered > p.consumed AND p.sealed = 0 AND {from:wake r} AND r.owner IS NULL AND r.kind <> 'group'

-- name: find_unsettled
-- Recovery and sweep: sealed parents without an open child.
SELECT {rows: p.id} FROM parents p CROSS JOIN runs r
WHERE r.id = p.id AND p.sealed = 1 AND p.open = 0 AND {from:settle r}

-- name: find_suspects
-- Recovery: runs that were at work in one dead process after the other, with what ends those that are quarantined.
SELECT {rows: id, epoch, parent_id, attempt, crashes} FROM runs
WHERE crashes > 0 AND crashes >= :suspect AND {from:claim runs}

-- name: read_attempts
-- The failed attempts of a run, oldest first.
SELECT {rows: attempt, finished_at, error} FROM (
  SELECT attempt, finished_at, error FROM attempts WHERE run_id = :id ORDER BY attempt) found

-- name: read_group
-- How far a group was filled by an earlier life of its owner.
SELECT {rows: spawned, open, sealed, delivered} FROM parents WHERE id = :id

-- name: read_outcomes
-- How members of a group ended, in the order of their ends; the caller puts them in order of their positions.
SELECT {rows: seq, id, key, position, name, state, output, error} FROM (
  SELECT seq, id, key, position, name, state, output, error FROM runs
  WHERE parent_id = :group_id AND seq > :after AND seq <= :upto ORDER BY seq LIMIT :most) found

-- name: read_fold
-- What a fold has recorded of itself.
SELECT {rows: output, progress} FROM runs WHERE id = :id

-- name: read_member_digests
-- What the items of a resumed `map` are compared with, in the order of the items.
SELECT {rows: key, id, digest} FROM (
  SELECT key, id, digest FROM runs
  WHERE parent_id = :group_id AND key > :key ORDER BY key, name LIMIT :most) found

-- name: held
-- What the table says that a worker holds; compared with what it knows.
SELECT {rows: id, epoch} FROM runs WHERE {from:complete runs} AND owner = :owner

-- name: read_run
-- One run, for people.
SELECT {rows: id, key, name, kind, state, parent_id, root_id, attempt, version, created_at, started_at, finished_at,
  input, output, error, blocked, tags, digest, progress} FROM runs WHERE id = :id

-- name: read_counts
-- The counters of a parent; how many run is counted on the small index of what is held (the plus keeps it to that).
SELECT {rows: spawned, open, failed, cancelled,
  (SELECT count(*) FROM runs r WHERE {from:complete r} AND r.owner > 0 AND (+r.parent_id = :id OR +r.parent_id IN (
    SELECT g.id FROM runs g WHERE g.parent_id = :id AND g.kind <> 'task' AND g.kind <> 'workflow')))} FROM parents WHERE id = :id

-- name: read_aside_counts
-- A parent's children that people do not count: groups, with the counters of their members, which are shown in their
-- place; timers, events and the like.
SELECT {rows: aside, open_aside, failed_aside, cancelled_aside, spawned, open, failed, cancelled} FROM (
  SELECT count(*) AS aside,
    coalesce(sum(CASE WHEN g.finished_at IS NULL THEN 1 ELSE 0 END), 0) AS open_aside,
    coalesce(sum(CASE WHEN g.state = {state:decide} THEN 1 ELSE 0 END), 0) AS failed_aside,
    coalesce(sum(CASE WHEN g.state = {state:abandon} THEN 1 ELSE 0 END), 0) AS cancelled_aside,
    coalesce(sum(p.spawned), 0) AS spawned, coalesce(sum(p.open), 0) AS open,
    coalesce(sum(p.failed), 0) AS failed, coalesce(sum(p.cancelled), 0) AS cancelled
  FROM runs g LEFT JOIN parents p ON p.id = g.id AND g.kind = 'group'
  WHERE g.parent_id = :id AND g.kind <> 'task' AND g.kind <> 'workflow') found

-- name: find_root
-- The newest unfinished root of this task and input that `app.run` started. `key IS NULL` would lead to runs_identity,
-- and through all roots of this name.
SELECT {rows: id} FROM (
  SELECT id FROM runs WHERE parent_id = 0 AND name = :name AND digest = :digest AND coalesce(key, '') = ''
    AND options = :options AND NOT {terminal runs} ORDER BY id DESC LIMIT 1) found

-- name: other_roots
-- What else goes on beside a root, for people.
SELECT {rows: id, name} FROM (
  SELECT id, name FROM runs WHERE parent_id = 0 AND finished_at IS NULL AND id <> :id ORDER BY id LIMIT :most) found

-- name: find_key
-- A run by its parent, task and key.
SELECT {rows: id} FROM runs WHERE parent_id = :parent_id AND key = :key AND name = :name

-- name: read_children
-- What a replay compares its calls with, by key: the order of the index, so that no page is sorted.
SELECT {rows: id, key, kind, name, digest, state, seq, finished_at, NULL, NULL, beginning, available_at, asked} FROM (
  SELECT id, key, kind, name, digest, state, seq, finished_at, substr(input, 1, 200) AS beginning, available_at,
    CASE WHEN cancel_requested_at > 0 AND finished_at IS NULL THEN 1 ELSE 0 END AS asked
  FROM runs
  WHERE parent_id = :parent_id AND (key, name) > (:key, :name) ORDER BY key, name LIMIT :most) found

-- name: read_deliveries
-- What a replay is fed with, in the order in which it was delivered.
SELECT {rows: id, key, kind, name, digest, state, seq, finished_at, output, error} FROM (
  SELECT id, key, kind, name, digest, state, seq, finished_at, output, error FROM runs
  WHERE parent_id = :parent_id AND seq > :after ORDER BY seq LIMIT :most) found

-- name: list_runs
-- Newest first; keyset paging, never an offset. A tag is looked for as it is encoded, name and value at once; replace()
-- is the one search that both databases have.
SELECT {rows: id, key, name, kind, state, parent_id, root_id, attempt, version, created_at, started_at, finished_at,
  input, output, error, blocked, tags, digest, progress} FROM (
  SELECT * FROM runs WHERE id < :before AND (:state IS NULL OR state = :state) AND (:name IS NULL OR name = :name)
    AND (:parent_id IS NULL OR parent_id = :parent_id) AND kind <> 'timer' AND kind <> 'event'
    AND (:since IS NULL OR created_at >= :since)
    AND NOT EXISTS (
      SELECT 1 FROM {each:tags} WHERE replace(coalesce(runs.tags, ''), {text:0}, '') = coalesce(runs.tags, ''))
  ORDER BY id DESC LIMIT :most) found

-- name: list_children
-- One level of a tree, oldest first. :shows_waits: timers and events among them.
SELECT {rows: id, key, name, kind, state, parent_id, root_id, attempt, version, created_at, started_at, finished_at,
  input, output, error, blocked, tags, digest, progress} FROM (
  SELECT * FROM runs WHERE parent_id = :parent_id AND id > :after AND (:state IS NULL OR state = :state)
    AND (:name IS NULL OR name = :name) AND (:shows_waits = 1 OR (kind <> 'timer' AND kind <> 'event'))
  ORDER BY id LIMIT :most) found

-- name: walk_children
-- The same where a page of the above would sort too many: they were started one after the other, so their ids are
-- nearly without gaps (the plus keeps it to the primary key).
SELECT {rows: id, key, name, kind, state, parent_id, root_id, attempt, version, created_at, started_at, finished_at,
  input, output, error, blocked, tags, digest, progress} FROM (
  SELECT * FROM runs WHERE +parent_id = :parent_id AND id > :after AND (:state IS NULL OR state = :state)
    AND (:name IS NULL OR name = :name) AND (:shows_waits = 1 OR (kind <> 'timer' AND kind <> 'event'))
  ORDER BY id LIMIT :most) found

-- name: count_runs
-- How many runs there are in each state; for the doctor, who has time.
SELECT {rows: state, number} FROM (SELECT state, count(*) AS number FROM runs GROUP BY state) found

-- name: count_children
-- The same of one parent's children, without those that are shown one by one.
SELECT {rows: state, number} FROM (
  SELECT state, count(*) AS number FROM runs WHERE parent_id = :parent_id AND id > :after GROUP BY state) found

-- name: move_pending
-- When what waits may start was reckoned from a clock that was ahead.
UPDATE runs SET available_at = available_at - :ahead_ms WHERE {from:claim runs} AND available_at < {held}

-- name: set_clock
-- The wall is taken for right, though the store was written ahead of it.
UPDATE meta SET clock_ms = :now
