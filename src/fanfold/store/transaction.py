"""Named statements with JSON parameters: what every verb of the store is made of."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec

from fanfold.store import statements
from fanfold.store.database import Database

_encode = msgspec.json.Encoder().encode


class Transaction:
    """The statements of one database. The verbs decide where a transaction begins and ends."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._statements = statements.load(database.dialect)

    async def execute(self, name: str, /, **parameters: Any) -> int:
        """Run a statement; lists become JSON. Returns how many rows changed."""
        return await self.database.execute(self._statements[name], _bind(parameters))

    async def value(self, name: str, /, **parameters: Any) -> str | int | None:
        """Return the only value of a statement's first row."""
        return await self.database.fetch(self._statements[name], _bind(parameters))

    async def text(self, name: str, /, **parameters: Any) -> str:
        """Return the rows of a statement as one JSON text."""
        return str(await self.database.fetch(self._statements[name], _bind(parameters)))

    async def rows(self, name: str, /, **parameters: Any) -> list[Any]:
        """Return the rows of a statement, plain."""
        return msgspec.json.decode(await self.text(name, **parameters))


class Locked(NamedTuple):
    """A parent's row, under its lock."""

    id: int
    delivered: int
    sealed: int
    idle: int  # a run that left memory waits
    is_group: int  # that is not decided
    held: int  # members that it holds back
    decided: int


def _bind(parameters: dict[str, Any]) -> dict[str, str | int | None]:
    return {
        key: value if value is None or isinstance(value, str | int) else _encode(value).decode()
        for key, value in parameters.items()
    }


def keyed(ids: Iterable[int]) -> list[tuple[int]]:
    """Return ids as rows of one column, as `{each:ids}` wants them."""
    return [(id,) for id in ids]
