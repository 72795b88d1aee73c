"""Floor F: how many children a second the database itself can hold, with no engine above it.

One table of 11 columns, a unique index on (parent, key), a partial index on (parent, seq); rows as one JSON parameter,
2,000 a batch; inserted as running, then completed under a guard; WAL, synchronous=FULL; one thread.
It is the measure, so it never follows the product's schema. Change it and every earlier ratio loses its meaning.
"""

import argparse
import tempfile
import time
from pathlib import Path

import apsw
import msgspec

from benchmarks.sample import Figures, emit
from benchmarks.stores import stored_bytes

CHILDREN = 100_000
BATCH = 2_000
PARENT, RUNNING, COMPLETED, EPOCH, AT_MS = 1, 1, 2, 1, 1_700_000_000_000

SCHEMA = """
CREATE TABLE child (id INTEGER PRIMARY KEY, parent INTEGER NOT NULL, key TEXT NOT NULL, name TEXT NOT NULL,
    state INTEGER NOT NULL, epoch INTEGER NOT NULL, seq INTEGER, input TEXT, output TEXT,
    created_at INTEGER NOT NULL, ended_at INTEGER);
CREATE UNIQUE INDEX child_key ON child (parent, key);
CREATE INDEX child_seq ON child (parent, seq) WHERE seq IS NOT NULL;
"""

# Whole rows travel as JSON, as an engine with many parents must send them; jsonb_each hands them out parsed.
INSERT = """
INSERT INTO child (id, parent, key, name, state, epoch, input, created_at)
SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6, value ->> 7
FROM jsonb_each(?1)
"""

# The guard names id, state and epoch; places in the order of delivery follow the order of the JSON.
COMPLETE = """
UPDATE child SET state = e.value ->> 2, output = e.value ->> 3, seq = ?2 + e.key, ended_at = e.value ->> 4
FROM jsonb_each(?1) AS e WHERE child.id = e.value ->> 0 AND child.epoch = e.value ->> 1 AND child.state = ?3
"""


def open_store(path: Path) -> apsw.Connection:
    """Open a fresh store in WAL mode with FULL sync and the floor's schema."""
    connection = apsw.Connection(str(path))
    connection.pragma("journal_mode", "wal")
    connection.pragma("synchronous", "full")
    connection.execute(SCHEMA)
    return connection


def write_batch(connection: apsw.Connection, first: int, size: int) -> int:
    """Insert `size` running children from id `first` and complete them, in a transaction each; return how many."""
    ids = range(first, first + size)
    spawned = json_rows([(i, PARENT, f"c{i}", "double", RUNNING, EPOCH, str(i), AT_MS) for i in ids])
    with connection:
        connection.execute(INSERT, (spawned,))
    done = json_rows([(i, EPOCH, COMPLETED, str(2 * i), AT_MS) for i in ids])
    with connection:
        connection.execute(COMPLETE, (done, first, RUNNING))
    return connection.changes()  # COMMIT leaves the count of the UPDATE standing


def json_rows(rows: list[tuple[object, ...]]) -> str:
    """Encode rows as one JSON array of arrays."""
    return msgspec.json.encode(rows).decode()


def measure(directory: Path, children: int) -> Figures:
    """Write `children` rows twice in batches of 2,000 and return the rate per second and the bytes a child."""
    path = directory / "floor.db"
    connection = open_store(path)
    started = time.perf_counter()
    written = sum(
        write_batch(connection, first, min(BATCH, children + 1 - first)) for first in range(1, children + 1, BATCH)
    )
    elapsed_s = time.perf_counter() - started
    connection.close()
    if written != children:
        raise AssertionError(f"the guard let {written} of {children} rows through")
    return {
        "children": children,
        "wall_s": elapsed_s,
        "per_s": children / elapsed_s,
        "bytes_per_child": stored_bytes(path) / children,
    }


def main() -> None:
    """Measure in a temporary directory and print one JSON line."""
    parser = argparse.ArgumentParser(description="Floor F: durable children a second without an engine.")
    parser.add_argument("--n", type=int, default=CHILDREN, help="children to write")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="benchmark-") as directory:
        emit({**measure(Path(directory), options.n), "sqlite": apsw.sqlite_lib_version()})


if __name__ == "__main__":
    main()
