"""The seam between fanfold and a database: a connection, not a list of operations.

Every verb is `async`, so that one `Store` serves a driver that suspends and one that does not; SQLite's never does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from fanfold.errors import FanfoldError
from fanfold.model.commands import Outcome

Parameters = dict[str, str | int | None]


class CommitUnknown(FanfoldError):
    """The database did not say whether the transaction was committed.

    `.outcome` is what the batch did if it was.
    """

    outcome: Outcome | None = None


class BatchRejected(FanfoldError):
    """The database refused a statement; the whole transaction was rolled back, nothing of it took effect."""


class StoreBusy(FanfoldError):
    """The store cannot be written now (a full disk, an unreadable device); nothing was committed."""


@dataclass(frozen=True)
class Dialect:
    """The few places in which two databases write the same thing differently; `{}` takes the argument of the slot."""

    name: str
    each: str  # the rows of a JSON parameter, as e (key, value)
    integer_column: str
    text_column: str
    rows: str  # all rows of a select as one JSON text
    lock: str
    skip_locked: str
    integer: str
    id: str
    text: str


class Database(Protocol):
    """One connection to a store. Only its owner may call it, one verb at a time."""

    dialect: Dialect

    async def begin(self) -> None:
        """Open a transaction that may write."""
        ...

    async def commit(self) -> None:
        """Make the open transaction durable. Raises CommitUnknown when the outcome cannot be known."""
        ...

    async def rollback(self) -> None:
        """Undo the open transaction, if there is one."""
        ...

    async def execute(self, statement: str, parameters: Parameters) -> int:
        """Run one statement; return how many rows it changed."""
        ...

    async def fetch(self, statement: str, parameters: Parameters) -> str | int | None:
        """Return the only value of the first row, or None when there is none."""
        ...

    async def reopen(self) -> None:
        """Close what is left of the connection and open it anew; an open transaction is gone."""
        ...

    def close(self) -> None:
        """Close the connection; what was committed stays."""
        ...
