"""A store that breaks at a commit: the program ends with an error, at once, and the next start goes on."""

from pathlib import Path

import pytest

from tests.crash.fan_out import Size
from tests.crash.kill_at_commit import NEVER, Kill, reap, start
from tests.crash.lives import PROGRAM, Lives, settings

SIZE = Size(squares=20, branches=2, leaves=2, steps=2, cubes=2)


def end_by_an_error(store: Path, commit: int) -> str:
    """Run a fan-out whose store breaks at a commit, and return what it wrote to standard error."""
    child = start(PROGRAM, Kill(commit, "broken"), settings(store, SIZE))
    output, errors = reap(child)
    assert child.returncode == 1, errors
    assert not output
    return errors


@pytest.mark.parametrize("commit", range(3, 9))
def test_a_program_whose_store_breaks_ends_with_an_error_and_the_next_start_goes_on(tmp_path: Path, commit: int):
    store = tmp_path / "broken.db"
    assert "StoreUnavailable: the engine has stopped" in end_by_an_error(store, commit)
    lives = Lives(store, SIZE)
    assert lives.left.violations == []
    lives.live(NEVER)
    lives.check_the_end()


@pytest.mark.parametrize("commit", range(2, 5))
def test_a_program_whose_store_breaks_as_it_goes_on_with_a_run_ends_with_an_error(tmp_path: Path, commit: int):
    lives = Lives(tmp_path / "broken.db", SIZE)
    lives.live(Kill(8, "after"))
    assert "StoreUnavailable: the engine has stopped" in end_by_an_error(lives.store, commit)
    lives.live(NEVER)
    lives.check_the_end()
