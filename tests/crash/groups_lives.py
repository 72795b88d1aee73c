"""Groups over several processes: what each started is compared with what the ones before had recorded."""

import re
from collections import Counter
from pathlib import Path

from fanfold.model import lifecycle
from fanfold.model.run import GROUP
from tests.crash.kill_at_commit import Ending, Kill, run
from tests.crash.remains import Remains, Row, look_into, wal_bytes

PROGRAM = "tests.crash.groups"


class GroupsLives:
    """One store, and the processes that worked on it one after the other."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        self.store = folder / "groups.db"
        self.left = Remains()
        self.hits: list[int] = []  # how many members were open after each kill
        self._log = folder / "bodies"
        self._env = {"FANFOLD_STORE": f"sqlite:///{self.store}", "GROUPS_LOG": str(self._log)}

    def live(self, kill: Kill) -> Ending:
        """Run until the kill or the end, and check what this process did and left."""
        ending = run(PROGRAM, kill, self._env, self.folder)
        before, after = self.left, look_into(self.store)
        check_store(before, after)
        self._check_started(ending, before, after)
        if ending.was_killed:
            self.hits.append(len(open_members(after)))
        else:
            assert ending.output.split() == ["True"], "it is not what a plain loop makes of it"
            assert len(after.ended) == len(after.runs)
            assert wal_bytes(self.store) == 0
        self.left = after
        return ending

    def _check_started(self, ending: Ending, before: Remains, after: Remains) -> None:
        """What is recorded does not run again, nothing starts twice in one process or before it is recorded."""
        lines = [line.split() for line in self._log.read_text().splitlines()] if self._log.exists() else []
        mine = Counter(int(id) for pid, id, _ in lines if int(pid) == ending.pid)
        assert mine.keys() <= after.runs.keys(), "a body started before it was recorded"
        assert not mine.keys() & before.ended.keys(), "what had ended was started again"
        assert set(mine.values()) <= {1}, "one process started a run twice"
        done = {id for id, row in after.ended.items() if row["kind"] in ("task", "workflow") and row["attempt"]}
        assert done <= {int(id) for _, id, _ in lines}, "recorded as done, but never run"
        told = [int(id) for id in re.findall(r"groups: continued run (\d+)", ending.errors)]
        assert told == [row["id"] for row in before.roots] or (ending.was_killed and not told), ending.errors


def check_store(before: Remains, after: Remains) -> None:
    """Nothing that was recorded is lost, what had ended has not changed, and all invariants hold."""
    assert after.violations == []
    assert not before.runs.keys() - after.runs.keys(), "a recorded run is gone"
    for id, row in before.ended.items():
        now = after.runs[id]
        is_dropped = row["output"] is not None and now["output"] is None  # a fold has taken it in
        assert now == row or (is_dropped and now == row | {"output": None}), f"run {id} had ended and has changed"
    assert all(after.runs[id]["epoch"] >= row["epoch"] for id, row in before.runs.items())
    assert after.sequence >= before.sequence


def open_members(remains: Remains) -> list[Row]:
    """Return the members of groups that have not ended."""
    groups = {id for id, row in remains.runs.items() if row["kind"] == GROUP}
    return [row for row in remains.runs.values() if row["parent_id"] in groups and row["finished_at"] is None]


def check_the_end(remains: Remains, expected: Counter[str]) -> None:
    """Each member is there once, and all folds completed."""
    assert Counter(row["name"] for row in remains.runs.values() if row["kind"] in ("task", "workflow")) == expected
    unfolded = [row for row in remains.runs.values() if row["kind"] == "fold" and row["state"] != lifecycle.COMPLETED]
    assert unfolded == []
