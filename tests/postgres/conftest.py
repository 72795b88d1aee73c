"""One PostgreSQL for all tests here; each test that takes `bench` works on it and on SQLite at once."""

from collections.abc import Iterator

import pytest

from tests.postgres.server import running_server
from tests.postgres.twins import Postgres, TwinBench
from tests.store.invariants import violations


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A connection to a server of these tests' own, with an empty schema."""
    with running_server() as host:
        database = Postgres(host)
        try:
            database.make_schema()
            yield database
        finally:
            database.close()


@pytest.fixture
def bench(postgres: Postgres) -> Iterator[TwinBench]:
    """A fresh store on both databases, which are alike at the end and break no invariant."""
    bench = TwinBench(postgres)
    yield bench
    bench.assert_equal()
    assert violations(bench.opened.writer._connection) == []
    bench.close()
