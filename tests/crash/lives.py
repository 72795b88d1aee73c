"""A fan-out over several processes, each checked against what the one before left."""

import json
from collections import Counter
from pathlib import Path

import msgspec

from tests.crash.fan_out import Size
from tests.crash.kill_at_commit import NEVER, Ending, Kill, kill_later, run, start
from tests.crash.remains import look_into, wal_bytes

PROGRAM = "tests.crash.fan_out"


def settings(store: Path, size: Size) -> dict[str, str]:
    """Return the environment of a fan-out."""
    return {"FANFOLD_STORE": f"sqlite:///{store}", "FAN_OUT": json.dumps(msgspec.to_builtins(size))}


class Lives:
    """One store, and the processes that worked on it one after the other."""

    def __init__(self, store: Path, size: Size, **env: str) -> None:
        self.store = store
        self.size = size
        self.left = look_into(store)
        self._log = store.with_name("bodies")
        self._env = settings(store, size) | {"FAN_OUT_LOG": str(self._log)} | env

    @property
    def is_unfinished(self) -> bool:
        """Tell whether there is work left; when there is none, the next start would be a new run."""
        return self.left.is_unfinished

    def live(self, kill: Kill) -> Ending:
        """Run until the kill or the end, and check what this process did and left."""
        return self._check(run(PROGRAM, kill, self._env, self.store.parent))

    def live_for(self, bodies: int, delay_s: float) -> Ending:
        """Run until so many bodies have started and a moment has passed, and check what this process did and left."""
        return self._check(kill_later(start(PROGRAM, NEVER, self._env), self._log, bodies, delay_s))

    def _check(self, ending: Ending) -> Ending:
        before, after = self.left, look_into(self.store)
        started = self._started(ending.pid)
        assert not [id for id in started if id in before.ended], "a run that had ended was started again"
        assert {id: times for id, times in started.items() if times > 1} == {}, "one process started a run twice"
        assert {id: after.runs.get(id) for id in before.ended} == before.ended, "what had ended has changed"
        assert not before.runs.keys() - after.runs.keys(), "a recorded run is gone"
        assert all(after.runs[id]["epoch"] >= run["epoch"] for id, run in before.runs.items())
        assert after.sequence >= before.sequence
        assert after.violations == []
        if not ending.was_killed:
            assert int(ending.output) == self.size.total
            assert wal_bytes(self.store) == 0
        self.left = after
        return ending

    def _started(self, pid: int) -> Counter[int]:
        """Return the runs that a process started, and how often."""
        lines = [line.split() for line in self._log.read_text().splitlines()] if self._log.exists() else []
        return Counter(int(id) for id, starter in lines if int(starter) == pid)

    def check_the_end(self) -> None:
        """Check that everything has been done once, and that the sum is right."""
        size, left = self.size, self.left
        (root,) = left.roots
        assert int(root["output"]) == size.total
        assert len(left.ended) == len(left.runs)
        assert Counter(row["name"] for row in left.runs.values()) == Counter(
            fan_out=1,
            endless=1,
            cancel=1,
            square=size.squares + size.branches * size.steps,
            branch=size.branches,
            leaf=size.branches * size.leaves,
            refuses=size.branches,
            cube=size.cubes,
            sleep=2 + size.branches,
        )
