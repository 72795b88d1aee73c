"""A dead engine whose last commands arrive after another one has taken over: none of them may take effect.

On one machine the file's lock keeps that from happening; on a fleet it is what epochs are for.
"""

from fanfold.engine.writers import drive
from fanfold.errors import FanfoldError
from fanfold.model.commands import Batch
from fanfold.store.store import Store
from tests.simulation.disk import FaultyDatabase

MARKED = """SELECT r.id, state, epoch, owner, output, error, seq, finished_at, progress, sealed
  FROM runs r LEFT JOIN parents p ON p.id = r.id ORDER BY r.id"""


def return_of(database: FaultyDatabase, batch: Batch, owner: int, now: int) -> list[str]:
    """Apply what a dead engine left; return what it changed."""
    batch.new = [row for row in batch.new if row.parent_id]  # a root is anybody's to start
    if not len(batch):
        return []
    store = Store(database, owner)
    before = database.connection.execute(MARKED).fetchall()
    ((batch.number, _),) = database.connection.execute("SELECT commit_sequence, clock_ms FROM meta").fetchall()
    try:
        drive(store.apply(batch, now))
    except FanfoldError:
        return []
    after = database.connection.execute(MARKED).fetchall()
    changed = sorted(set(after) ^ set(before))
    return [f"a zombie changed {changed[:4]}"] if changed else []
