"""A store in memory whose database fails on command, in the ways in which a real one can."""

import functools
import itertools

import apsw

from fanfold.engine.writers import drive
from fanfold.errors import StoreUnavailable
from fanfold.store.database import BatchRejected, CommitUnknown, Parameters, StoreBusy
from fanfold.store.opening import OpenStore, migrate
from fanfold.store.sqlite import SqliteDatabase

POISON = "\N{SKULL AND CROSSBONES}"  # no statement that carries it is accepted


class FaultyDatabase(SqliteDatabase):
    """A connection to a database in memory. `fault` is what goes wrong in the next transaction."""

    def __init__(self) -> None:
        super().__init__(":memory:")
        self._connection.deserialize("main", _empty_store())
        self.fault: str | None = None
        self.at_statement = 0
        self.lost_connections = 0  # how many times more no new connection can be opened
        self.lost_answers = 0  # how many times more the number of the last batch cannot be read

    @property
    def connection(self) -> apsw.Connection:
        return self._connection

    def _comes(self, *faults: str) -> str | None:
        """Return the fault if it is one of these and its time has come; it comes once."""
        if self.fault not in faults:
            return None
        if self.at_statement > 0:
            self.at_statement -= 1
            return None
        fault, self.fault = self.fault, None
        return fault

    async def begin(self) -> None:
        if self._comes("cannot begin"):
            raise StoreBusy("injected: the disk is full")
        await super().begin()

    async def execute(self, statement: str, parameters: Parameters) -> int:
        fault = self._comes("disk full", "transaction gone", "statement refused")
        if fault == "statement refused":
            raise BatchRejected("injected: a statement was refused")
        if fault is not None:
            self._connection.execute("ROLLBACK")  # as SQLite does by itself when the disk is full
            if fault == "disk full":
                raise StoreBusy("injected: the disk is full")
        if any(POISON in value for value in parameters.values() if isinstance(value, str)):
            raise BatchRejected("injected: this text is refused")
        return await super().execute(statement, parameters)

    async def commit(self) -> None:
        fault, self.fault = self.fault or "", None
        if fault.endswith("reopen fails"):
            self.lost_connections = 1 + self.at_statement
        if fault.endswith("look-up fails"):
            self.lost_answers = 1 + self.at_statement
        if fault.startswith("not committed, unknown"):
            self._connection.execute("ROLLBACK")
            raise CommitUnknown("injected: no answer, and nothing committed")
        await super().commit()
        if fault.startswith("committed, unknown"):
            raise CommitUnknown("injected: no answer, and everything committed")

    async def fetch(self, statement: str, parameters: Parameters) -> str | int | None:
        if self.lost_answers and "commit_sequence" in statement:
            self.lost_answers -= 1
            raise StoreUnavailable("injected: the store cannot be read")
        return await super().fetch(statement, parameters)

    async def reopen(self) -> None:
        """Keep the connection: what is in memory would be gone with it."""
        if self.lost_connections:
            self.lost_connections -= 1
            raise StoreUnavailable("injected: no connection can be opened")
        await self.rollback()

    def die(self) -> None:
        """Leave the database as a killed process does."""
        self.fault = None
        self.lost_connections = self.lost_answers = 0
        drive(self.rollback())


class SimStore(OpenStore):
    """An open store that outlives the engines on it."""

    def close(self) -> None:
        """Stay open for the next life."""


def open_store() -> SimStore:
    database = FaultyDatabase()
    return SimStore("sqlite://", database, database)


@functools.cache
def _empty_store() -> bytes:
    """Make the schema once; every seed starts from a copy."""
    database = SqliteDatabase(f"file:/simulation-{next(_count)}?vfs=memdb")
    drive(migrate(database, "sqlite://"))
    return database._connection.serialize("main")


_count = itertools.count()
