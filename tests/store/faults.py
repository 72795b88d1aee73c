"""A database that fails when told, in front of a real one: the seam at which a store meets a disk or a network."""

from collections.abc import Callable

from fanfold.store.database import CommitUnknown, Database, Parameters


class FaultyDatabase:
    """Passes everything on; `before` and `after` say at which commits (1, 2, ...) the reply is lost."""

    def __init__(self, inner: Database, before: tuple[int, ...] = (), after: tuple[int, ...] = ()) -> None:
        self.inner = inner
        self.dialect = inner.dialect
        self.before, self.after = before, after
        self.commits = self.reopened = 0
        self.on_execute: Callable[[str], None] = lambda statement: None

    async def begin(self) -> None:
        await self.inner.begin()

    async def commit(self) -> None:
        self.commits += 1
        if self.commits in self.before:
            await self.inner.rollback()
            raise CommitUnknown("lost before the commit")
        await self.inner.commit()
        if self.commits in self.after:
            raise CommitUnknown("lost after the commit")

    async def rollback(self) -> None:
        await self.inner.rollback()

    async def execute(self, statement: str, parameters: Parameters) -> int:
        self.on_execute(statement)
        return await self.inner.execute(statement, parameters)

    async def fetch(self, statement: str, parameters: Parameters) -> str | int | None:
        return await self.inner.fetch(statement, parameters)

    async def reopen(self) -> None:
        self.reopened += 1
        await self.inner.reopen()

    def close(self) -> None:
        self.inner.close()
