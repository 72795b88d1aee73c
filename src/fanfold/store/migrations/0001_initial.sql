-- One row a run: task, workflow, timer or event. Everything that a run waits for is a child row.
-- {integer} is a 64-bit integer, {id} the primary key's type, {text} text that compares by bytes.
CREATE TABLE runs (
  id {id} PRIMARY KEY,
  root_id {integer} NOT NULL,
  parent_id {integer} NOT NULL,
  depth {integer} NOT NULL,
  key {text},
  position {integer},
  kind {text} NOT NULL,
  name {text} NOT NULL,
  digest {integer} NOT NULL,
  state {text} NOT NULL,
  epoch {integer} NOT NULL,
  attempt {integer} NOT NULL,
  crashes {integer} NOT NULL,
  owner {integer},
  queue {text} NOT NULL,
  priority {integer} NOT NULL,
  available_at {integer} NOT NULL,
  seq {integer},
  compensates {integer} NOT NULL,
  cancel_requested_at {integer},
  same_as {integer},
  retry_of {integer},
  created_at {integer} NOT NULL,
  started_at {integer},
  finished_at {integer},
  version {text} NOT NULL,
  tags {text},
  options {text},
  blocked {text},
  progress {text},
  input {text},
  output {text},
  error {text}
);

-- A child is started once per (parent, key, name); roots without a key have NULL there and never collide.
CREATE UNIQUE INDEX runs_identity ON runs (parent_id, key, name);

-- Replay reads a parent's deliveries in order.
CREATE INDEX runs_delivered ON runs (parent_id, seq) WHERE seq IS NOT NULL;

-- Claims probe one (queue, name) at a time; timers stand in it as queue ''.
CREATE INDEX runs_claimable ON runs (queue, name, priority DESC, available_at, id) WHERE state = 'pending';

-- Recovery and sweeps look at what workers hold.
CREATE INDEX runs_held ON runs (owner, epoch) WHERE state = 'running';

-- `app.run` looks for the root that it left behind.
CREATE INDEX runs_roots ON runs (name, digest, id) WHERE parent_id = 0;

-- A parent's groups are counted as their members; timers, events and whatever else is a row are not counted.
CREATE INDEX runs_aside ON runs (parent_id) WHERE kind <> 'task' AND kind <> 'workflow';

-- What goes on when an engine starts.
CREATE INDEX runs_open_roots ON runs (id) WHERE parent_id = 0 AND finished_at IS NULL;

-- A cancel request is walked from here, whatever crashes on the way.
CREATE INDEX runs_flagged ON runs (cancel_requested_at) WHERE cancel_requested_at IS NOT NULL AND finished_at IS NULL;

-- What stands still is looked for by its tree.
CREATE INDEX runs_paused ON runs (root_id) WHERE state = 'paused';

-- Whose processes died, again and again: few, claimed one by one.
CREATE INDEX runs_suspect ON runs (crashes, available_at, id) WHERE crashes > 0;

-- Members that their group holds back, oldest first; no claim sees them.
CREATE INDEX runs_held_back ON runs (parent_id, id) WHERE state = 'pending' AND available_at = {held};

-- Failed attempts that were followed by another one, for people.
CREATE TABLE attempts (
  run_id {integer} NOT NULL,
  attempt {integer} NOT NULL,
  epoch {integer} NOT NULL,
  finished_at {integer} NOT NULL,
  error {text} NOT NULL
);
CREATE UNIQUE INDEX attempts_identity ON attempts (run_id, attempt);

-- One narrow row for each run that has children, changed in the transaction that changes the child. Apart from
-- `runs`, since counters beside a large payload cost a third of the throughput.
CREATE TABLE parents (
  id {id} PRIMARY KEY,
  spawned {integer} NOT NULL,
  open {integer} NOT NULL,
  delivered {integer} NOT NULL,
  consumed {integer} NOT NULL,
  failed {integer} NOT NULL,
  cancelled {integer} NOT NULL,
  held {integer} NOT NULL,
  sealed {integer} NOT NULL,
  decided {integer} NOT NULL
);

-- One row a store. `commit_sequence` tells whether a batch of unknown outcome was committed.
CREATE TABLE meta (
  schema_version {integer} NOT NULL,
  store_id {text} NOT NULL,
  next_id {integer} NOT NULL,
  commit_sequence {integer} NOT NULL,
  clock_ms {integer} NOT NULL
);
