"""`app.run` of one task over `kill -9`: while its body runs, and at each of its commits."""

import os
from pathlib import Path

import pytest

from fanfold.model import lifecycle
from fanfold.store.sqlite import SqliteDatabase
from tests.crash.kill_at_commit import NEVER, Kill, finish, run, start, wait_for_line
from tests.crash.remains import Remains, look_into, read, wal_bytes

# The body says that it has started, and waits for the end of its standard input: the test decides when that comes.
BODY = """
import asyncio, os, sys
from fanfold import App, current

app = App("one")

def note():
    with open(os.environ["BODIES"], "a") as log:
        print(os.getpid(), current().id, current().attempt, file=log)

@app.task
def in_a_thread(n: int) -> int:
    note()
    print("started", flush=True)
    sys.stdin.read()
    return n + 1

@app.task
async def on_the_loop(n: int) -> int:
    note()
    print("started", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    return n + 1

task = {task}
print(app.run(task, 41))
"""


class Place:
    """A folder with a script that runs one task, and the store of that."""

    def __init__(self, folder: Path, task: str) -> None:
        self.script = folder / "one.py"
        self.script.write_text(BODY.replace("{task}", task))
        self.folder = folder
        self.store = folder / "one.db"
        self.log = folder / "bodies"
        self.env = {"FANFOLD_STORE": f"sqlite:///{self.store}", "BODIES": str(self.log)}

    def run(self, kill: Kill = NEVER):
        return run(str(self.script), kill, self.env, self.folder)

    def bodies(self, pid: int) -> list[int]:
        """Return the runs whose bodies a process started."""
        lines = [line.split() for line in self.log.read_text().splitlines()] if self.log.exists() else []
        assert all(attempt == "1" for _, _, attempt in lines), "a crash counted as a try"
        return [int(id) for starter, id, _ in lines if int(starter) == pid]


@pytest.fixture(params=["in_a_thread", "on_the_loop"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    return Place(tmp_path, request.param)


def test_a_run_whose_process_is_killed_in_its_body_is_finished_by_the_next_process(place: Place):
    stdin, keeps_it_open = os.pipe()
    try:
        child = start(str(place.script), NEVER, place.env, stdin=stdin)
        assert wait_for_line(child) == "started"
        child.kill()
        assert finish(child).was_killed
    finally:
        os.close(stdin)
        os.close(keeps_it_open)
    (left,) = look_into(place.store).roots
    assert (left["state"], left["epoch"]) == (lifecycle.RUNNING, 1)
    assert place.bodies(child.pid) == [left["id"]]

    second = place.run()
    assert second.output.splitlines() == ["started", "42"]
    assert place.bodies(second.pid) == [left["id"]]
    after = look_into(place.store)
    assert after.violations == []
    (done,) = after.roots
    assert (done["state"], done["output"]) == (lifecycle.COMPLETED, "42")
    assert done["epoch"] > left["epoch"]
    assert done["crashes"] == 1


@pytest.fixture
def commits(tmp_path: Path) -> int:
    """Count the commits of a whole run, in a store of its own."""
    folder = tmp_path / "counted"
    folder.mkdir()
    counted = Place(folder, "on_the_loop").run().commits
    assert counted >= 4, "schema, recovery, the run's insert, its end"
    return counted


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_run_whose_process_is_killed_at_any_of_its_commits_is_finished_by_the_next_process(
    tmp_path: Path, commits: int, when: str
):
    for commit in range(1, commits + 1):
        folder = tmp_path / f"killed-at-{commit}"
        folder.mkdir()
        left = kill_and_finish(Place(folder, "on_the_loop"), Kill(commit, when))
        # The last commit is the one that records the end.
        assert left.is_unfinished == ((commit, when) != (commits, "after"))


def kill_and_finish(place: Place, kill: Kill) -> Remains:
    """Check what the start after a kill makes of it, and return what the kill left."""
    assert place.run(kill).was_killed
    left = look_into(place.store)
    assert left.violations == []
    second = place.run()
    assert second.output.splitlines() == ["started", "42"]
    after = look_into(place.store)
    assert after.violations == []
    assert [row["output"] for row in after.roots] == ["42"] * (1 + len(left.ended))
    # What was recorded is not run again; `app.run` then starts anew, as it does after every finished run.
    assert place.bodies(second.pid) == [row["id"] for row in after.roots if row["id"] not in left.ended]
    assert {id: after.runs[id] for id in left.ended} == left.ended
    return left


def test_a_run_with_a_key_that_was_recorded_before_the_kill_gives_its_result_without_a_body(
    tmp_path: Path, commits: int
):
    place = Place(tmp_path, 'on_the_loop.options(key="once")')
    assert place.run(Kill(commits, "after")).was_killed
    second = place.run()
    assert second.output.splitlines() == ["42"]
    assert place.bodies(second.pid) == []
    assert [row["output"] for row in look_into(place.store).roots] == ["42"]


def test_the_log_that_a_killed_process_left_is_shortened_when_the_next_one_closes(place: Place):
    place.run(Kill(3, "before"))
    assert wal_bytes(place.store) > 0
    place.run()
    assert wal_bytes(place.store) == 0


def test_the_log_is_shortened_when_a_process_closes_though_another_one_still_looks_at_the_store(place: Place):
    place.run(Kill(3, "before"))
    onlooker = SqliteDatabase(str(place.store), read_only=True)
    try:
        place.run()
        assert wal_bytes(place.store) == 0
        assert read(onlooker).roots[0]["output"] == "42"
    finally:
        onlooker.close()


def test_a_run_that_was_running_at_a_kill_has_a_higher_epoch_as_soon_as_the_next_process_has_recovered(
    tmp_path: Path, commits: int
):
    place = Place(tmp_path, "on_the_loop")
    place.run(Kill(commits, "before"))
    (left,) = look_into(place.store).roots
    assert left["state"] == lifecycle.RUNNING
    place.run(Kill(1, "after"))
    (recovered,) = look_into(place.store).roots
    assert recovered["state"] == lifecycle.PENDING
    assert recovered["epoch"] > left["epoch"]


def test_the_lock_of_a_killed_process_is_free_and_names_it_until_the_next_one_takes_it(place: Place):
    lock = Path(f"{place.store}.lock")
    first = place.run(Kill(3, "before"))
    assert lock.read_text().strip() == str(first.pid)
    second = place.run()
    assert lock.read_text().strip() == str(second.pid)
