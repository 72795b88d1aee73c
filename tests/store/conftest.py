"""The store under test: once in memory, once in a file. Whatever a test does to it, the invariants hold after."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.store.bench import Bench
from tests.store.invariants import violations


@pytest.fixture(params=["memory", "file"])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    """A fresh store; its invariants are checked when the test is over."""
    yield from fresh("sqlite://" if request.param == "memory" else f"sqlite:///{tmp_path}/store.db")


@pytest.fixture
def on_file(tmp_path: Path) -> Iterator[Bench]:
    """A fresh store in a file, for what memory cannot do."""
    yield from fresh(f"sqlite:///{tmp_path}/store.db")


def fresh(url: str) -> Iterator[Bench]:
    bench = Bench(url)
    yield bench
    assert violations(bench.opened.writer._connection) == []
    bench.close()
