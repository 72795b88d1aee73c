"""Two databases that are told the same and must answer the same: SQLite in memory, and PostgreSQL.

The store takes the pair for one database. Each statement runs on both, from the one text that both are rendered from.
"""

import asyncio
import json
from importlib import resources
from pathlib import Path
from typing import Any

import asyncpg

from fanfold.engine.writers import drive
from fanfold.store import postgres, sqlite, statements
from fanfold.store.database import Parameters
from fanfold.store.opening import SCHEMA_VERSION
from fanfold.store.queries import Queries
from fanfold.store.store import Store
from tests.postgres.server import PORT, SUPERUSER
from tests.store.bench import OWNER, Bench

SQLITE = statements.load(sqlite.DIALECT)
POSTGRES = {name: postgres.positional(text) for name, text in statements.load(postgres.DIALECT).items()}
NAMES = {text: name for name, text in SQLITE.items()}


class Postgres:
    """A connection to PostgreSQL whose verbs block, so that one store can drive it beside SQLite's."""

    def __init__(self, host: Path) -> None:
        self._runner = asyncio.Runner()
        self.connection = self.wait(
            asyncpg.connect(
                host=str(host), port=PORT, user=SUPERUSER, database="postgres", timeout=10, command_timeout=30
            )
        )

    def wait(self, verb: Any) -> Any:
        """Run one verb of asyncpg to its end."""

        async def run() -> Any:
            return await verb

        return self._runner.run(run())

    def make_schema(self) -> None:
        """Make the tables, from the migrations that SQLite's are made from."""
        folder = resources.files("fanfold.store").joinpath("migrations")
        for migration in sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".sql")):
            self.script(statements.render(folder.joinpath(migration).read_text(), postgres.DIALECT))

    def script(self, text: str) -> None:
        self.wait(self.connection.execute(text))

    def prepare(self, name: str) -> Any:
        return self.wait(self.connection.prepare(POSTGRES[name][0]))

    def execute(self, name: str, parameters: Parameters) -> int:
        """Run a statement; return how many rows it changed."""
        text, names = POSTGRES[name]
        status = self.wait(self.connection.execute(text, *(parameters[name] for name in names)))
        return int(status.split()[-1])

    def fetch(self, name: str, parameters: Parameters) -> Any:
        """Return the only value of the first row."""
        text, names = POSTGRES[name]
        return self.wait(self.connection.fetchval(text, *(parameters[name] for name in names)))

    def read(self, text: str) -> list[dict[str, Any]]:
        return [dict(row) for row in self.wait(self.connection.fetch(text))]

    def close(self) -> None:
        self.wait(self.connection.close(timeout=10))
        self._runner.close()


class Twins:
    """SQLite and PostgreSQL as one `Database`; they differ, and the test fails."""

    dialect = sqlite.DIALECT

    def __init__(self, lead: sqlite.SqliteDatabase, second: Postgres) -> None:
        self.lead = lead
        self.second = second

    async def begin(self) -> None:
        await self.lead.begin()
        self.second.script("BEGIN")

    async def commit(self) -> None:
        await self.lead.commit()
        self.second.script("COMMIT")

    async def rollback(self) -> None:
        await self.lead.rollback()
        self.second.script("ROLLBACK")

    async def execute(self, statement: str, parameters: Parameters) -> int:
        changed = await self.lead.execute(statement, parameters)
        name = NAMES[statement]
        assert self.second.execute(name, parameters) == changed, f"{name} changed as many rows on SQLite"
        return changed

    async def fetch(self, statement: str, parameters: Parameters) -> str | int | None:
        value = await self.lead.fetch(statement, parameters)
        name = NAMES[statement]
        assert comparable(name, self.second.fetch(name, parameters)) == comparable(name, value), name
        return value

    async def reopen(self) -> None:
        await self.lead.reopen()

    def close(self) -> None:
        self.lead.close()


def comparable(name: str, value: Any) -> Any:
    """Return rows as values; those of a statement that promises no order are sorted."""
    if not isinstance(value, str):
        return value
    rows = json.loads(value)
    return rows if "ORDER BY" in SQLITE[name] else sorted(rows, key=repr)


class TwinBench(Bench):
    """A bench whose store stands on both databases."""

    def __init__(self, second: Postgres) -> None:
        self.second = second
        super().__init__("sqlite://")

    def open(self) -> None:
        """Empty PostgreSQL's tables, and give it the identity of the fresh store in memory."""
        super().open()
        self.tables = [row["name"] for row in self.sql("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        self.second.script(f"ROLLBACK; TRUNCATE {', '.join(self.tables)}")
        ((identity,),) = self.opened.writer._connection.execute("SELECT store_id FROM meta").fetchall()
        self.second.execute("insert_meta", {"version": SCHEMA_VERSION, "store_id": identity})
        self.twins = Twins(self.opened.writer, self.second)
        self.store = Store(self.twins, OWNER)
        self.queries = Queries(self.twins)

    def change(self, text: str) -> None:
        """Change the tables of both past the store."""
        super().change(text)
        self.second.script(text)

    def assert_equal(self) -> None:
        """Compare all tables, column by column."""
        for table in self.tables:
            query = f"SELECT * FROM {table} ORDER BY 1, 2"
            assert self.second.read(query) == self.sql(query), table

    def both(self, name: str, /, **parameters: Any) -> int | str | None:
        """Run a statement on both, as a change or as a look; the result is SQLite's, and the same."""
        bound = {key: json.dumps(value) if isinstance(value, list) else value for key, value in parameters.items()}
        is_look = SQLITE[name].startswith(("SELECT", "WITH"))
        return drive((self.twins.fetch if is_look else self.twins.execute)(SQLITE[name], bound))
