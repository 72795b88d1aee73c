"""What a member adds to its own group when it ends: looked at before it is inserted.

The rows go in with the member's end, so that a retried attempt leaves nothing behind. A key that is there with the same
input is no second run; with another input the member itself is at fault, and nothing of what it adds is inserted.
"""

from __future__ import annotations

from collections.abc import Sequence

from fanfold.model import lifecycle
from fanfold.model.commands import Siblings
from fanfold.model.keys import shown
from fanfold.model.run import End, NewRun, conflict_text
from fanfold.store.transaction import Transaction

_Identity = tuple[int, str | None, str]


async def refuse_conflicts(tx: Transaction, commands: Sequence[Siblings]) -> list[End]:
    """Return how those members end that give a key to another input than it has."""
    keyed = [_identity(row) for command in commands for row in command.new if shown(row.key)]
    if not keyed:
        return []
    # Who has lost its lease, or comes too late, adds nothing: it is in nobody's way, and nothing is in its.
    spawners = {id for (id,) in await tx.rows("find_spawners", rows=[command[0] for command in commands])}
    taken = {(row[0], row[1], row[2]): (row[3], row[4]) for row in await tx.rows("find_by_key", keys=keyed)}
    refused: list[End] = []
    for command in commands:
        if command.id in spawners:
            error = _add(command.new, taken)
            if error is not None:
                end = command.end
                refused.append(End(end.id, end.epoch, end.parent_id, lifecycle.FAILED, None, error))
    return refused


def _add(new: Sequence[NewRun], taken: dict[_Identity, tuple[int, int]]) -> str | None:
    """Take the keys of these rows, all or none; return what is recorded of the first conflict."""
    own: dict[_Identity, tuple[int, int]] = {}
    for row in new:
        identity = _identity(row)
        id, digest = taken.get(identity) or own.setdefault(identity, (row.id, row.digest))
        if digest != row.digest:
            return conflict_text(shown(row.key) or "", row.name, id)
    taken.update(own)
    return None


def _identity(row: NewRun) -> _Identity:
    return row.parent_id, row.key, row.name
