"""What holds for every test: a place of its own, no child process left behind, and reproducible examples."""

import os
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import psutil
import pytest

# No example database in either: what a run tries must not depend on what an earlier one left on the disk.
hypothesis.settings.register_profile("house", deadline=None, database=None, print_blob=True)
hypothesis.settings.register_profile("ci", hypothesis.settings.get_profile("house"), derandomize=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "house")

# multiprocessing keeps these for the life of the interpreter, by design.
KEPT_BY_MULTIPROCESSING = ("multiprocessing.resource_tracker", "multiprocessing.forkserver")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the models of the store come first.

    They make small objects without end; in a process that thousands of tests have filled, the garbage collector makes
    them ten times slower, and the limit of a test is measured by the wall.
    """
    items.sort(key=lambda item: item.path.name != "test_stateful.py")


@pytest.fixture(autouse=True)
def surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run each test in an empty folder, without the developer's own fanfold settings."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("FANFOLD_")]:
        monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def reaped_children() -> Iterator[None]:
    """Fail a test that leaves a child process behind, and end that process for the sake of the tests that follow."""
    before = set(child_processes())
    yield
    left = [child for child in child_processes() if child not in before]
    told = [describe(child) for child in left]
    for child in left:
        child.kill()
    psutil.wait_procs(left, timeout=10)
    assert not told, f"the test left child processes behind: {', '.join(told)}"


def child_processes() -> list[psutil.Process]:
    """List the children of this process, zombies included: nobody has waited for those either."""
    children = psutil.Process().children()
    return [child for child in children if not any(name in describe(child) for name in KEPT_BY_MULTIPROCESSING)]


def describe(process: psutil.Process) -> str:
    """Name a process by its id and command, as far as it can still be asked."""
    try:
        return f"{process.pid} {' '.join(process.cmdline()) or process.name()}"
    except psutil.Error as error:
        return f"{process.pid} ({type(error).__name__})"
