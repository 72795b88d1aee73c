"""The mixture over several processes: what each did is compared with what the one before left, and with the store."""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple, TypeVar

import psutil

from fanfold.model import lifecycle
from fanfold.model.run import EVENT, GROUP, TASK, TIMER
from tests.crash.kill_at_commit import NEVER, PATIENCE_S, Ending, Kill, kill_later, run, start
from tests.crash.mixture import AGAIN, UNDONE, expected_runs, failures
from tests.crash.remains import Remains, Row, look_into, wal_bytes

PROGRAM = "tests.crash.mixture"
OURS = "fanfold.worker.executors.process_main"  # on the command line of a process of the pool


Lives = TypeVar("Lives", bound="MixtureLives")


class Started(NamedTuple):
    """A body or workflow that started: in whose life, in which process, and which attempt of which run."""

    life: int
    pid: int
    run: int
    attempt: int
    name: str


class MixtureLives:
    """One store, and the processes that worked on it one after the other; `arguments` are those of the program."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.store = folder / "mixture.db"
        self.left = Remains()
        self.hits = 0  # kills that left work to do
        self._log = folder / "bodies"
        self._arguments = arguments
        self._env = {"FANFOLD_STORE": f"sqlite:///{self.store}", "MIXTURE_LOG": str(self._log)}

    @property
    def is_unfinished(self) -> bool:
        """Tell whether there is work left."""
        return self.left.is_unfinished

    def live(self, kill: Kill, **env: str) -> Ending:
        """Run until the kill or the end, and check what this process did and left."""
        return self._check(run(PROGRAM, kill, self._env | env, self.folder, self._arguments))

    def live_for(self, bodies: int, delay_s: float) -> Ending:
        """Run until so many bodies have started and a moment has passed, and check what this process did and left."""
        return self._check(kill_later(start(PROGRAM, NEVER, self._env), self._log, bodies, delay_s))

    def started(self, life: int | None = None) -> list[Started]:
        """Return what started in a life, or in all of them, in that order."""
        lines = [line.split() for line in self._log.read_text().splitlines()] if self._log.exists() else []
        found = [Started(*map(int, numbers), name) for *numbers, name in lines]
        return [line for line in found if life in (None, line.life)]

    def _check(self, ending: Ending) -> Ending:
        before, after = self.left, look_into(self.store)
        started = self.started(ending.pid)
        check_processes(started, ending.pid)
        check_started(started, before, after)
        check_store(before, after)
        check_attempts(after)
        ran = {line.run for line in self.started()}
        done = {id for id, row in after.runs.items() if row["kind"] == TASK and row["state"] == lifecycle.COMPLETED}
        assert done <= ran, f"recorded as done, but never run: {done - ran}"
        if not ending.was_killed:
            assert len(after.ended) == len(after.runs)
            assert wal_bytes(self.store) == 0
        elif after.is_unfinished:
            self.hits += 1
        self.left = after
        return ending


def until_hit(folder: Path, attacks: Iterable[Callable[[Path], Lives]]) -> Lives:
    """Kill a run in its midst; how far one comes in so many commits, or so long, is a matter of luck: try again."""
    for number, attack in enumerate(attacks):
        lives = attack(folder / f"try-{number}")
        if lives.hits:
            return lives
    raise AssertionError("each time the run was done before it was killed")


def check_processes(started: list[Started], life: int) -> None:
    """The processes of a pool end when their engine does."""
    alive: list[psutil.Process] = []
    for pid in {line.pid for line in started} - {life}:
        try:
            process = psutil.Process(pid)
            if OURS in " ".join(process.cmdline()):
                alive.append(process)
        except psutil.Error:
            continue
    _, alive = psutil.wait_procs(alive, timeout=PATIENCE_S)
    assert not alive, f"these outlived their engine: {alive}"


def check_started(started: list[Started], before: Remains, after: Remains) -> None:
    """What starts is recorded and has not ended; attempts go on where they were, one after the other, each once."""
    attempts: dict[int, list[int]] = defaultdict(list)
    for line in started:
        assert line.run in after.runs, f"{line} started before it was recorded"
        assert line.run not in before.ended, f"{line} had ended and was started again"
        if after.runs[line.run]["kind"] == TASK:  # a workflow is replayed
            attempts[line.run].append(line.attempt)
    for id, numbers in attempts.items():
        first = max(before.runs[id]["attempt"], 1) if id in before.runs else 1
        assert numbers == list(range(first, first + len(numbers))), f"run {id}, from {first} on: {numbers}"
        assert after.runs[id]["attempt"] - numbers[-1] in (0, 1), f"run {id}: {after.runs[id]}, started: {numbers}"
    asked = {id for id, row in before.runs.items() if not row["parent_id"] and row["cancel_requested_at"] is not None}
    for line in started:
        row = after.runs[line.run]
        if row["root_id"] in asked and not row["compensates"]:
            had_started = line.run in before.runs and before.runs[line.run]["started_at"] is not None
            assert row["kind"] != TASK, f"{line} started though its root was asked to cancel"
            assert had_started, f"{line} started though its root was asked to cancel"


def check_store(before: Remains, after: Remains) -> None:
    """Nothing that was recorded is lost, what had ended has not changed, and all invariants hold."""
    assert after.violations == []
    assert {id: after.runs.get(id) for id in before.ended} == before.ended, "what had ended has changed"
    assert not before.runs.keys() - after.runs.keys(), "a recorded run is gone"
    assert before.attempts.items() <= after.attempts.items(), "a failed attempt is gone or has changed"
    assert all(after.runs[id]["epoch"] >= row["epoch"] for id, row in before.runs.items())
    assert all(after.runs[id]["attempt"] >= row["attempt"] for id, row in before.runs.items())
    assert after.sequence >= before.sequence


def check_attempts(remains: Remains) -> None:
    """No attempt ends before the delay after the one before it is over, by the engine's clock."""
    for (id, number), failed in remains.attempts.items():
        row, following = remains.runs[id], remains.attempts.get((id, number + 1))
        ended_at = row["finished_at"] if following is None else following["finished_at"]
        is_cancelled = row["cancel_requested_at"] is not None
        if ended_at is not None and not is_cancelled:
            waited_ms = ended_at - failed["finished_at"]
            assert waited_ms >= AGAIN.delay_ms(number, 0), f"run {id}: {waited_ms} ms after attempt {number}"


def check_the_end(lives: MixtureLives) -> None:
    """Everything has been done once, in as many attempts as it takes, and the sagas have been undone."""
    left = lives.left
    (root,) = left.roots
    in_sagas = {id for id, row in left.runs.items() if any(above["name"] == "saga" for above in lineage(left, row))}
    others = [row for id, row in left.runs.items() if id not in in_sagas and row["kind"] not in (EVENT, GROUP, TIMER)]
    assert root["state"] == lifecycle.COMPLETED
    assert Counter(row["name"] for row in others) == expected_runs()
    check_final_attempts(left)
    check_sagas(left)


def check_final_attempts(left: Remains) -> None:
    """What was tried again has as many failed attempts as it was to have."""
    for id, row in left.runs.items():
        if row["kind"] == TASK and row["state"] == lifecycle.COMPLETED:
            n = next(iter(json.loads(row["input"]).values()), 0)
            assert row["attempt"] == failures(row["name"], n) + 1, f"run {id}: {row}"
            assert [number for of, number in left.attempts if of == id] == list(range(1, row["attempt"]))


def check_sagas(left: Remains) -> None:
    """Whatever saga was told of its cancel has undone its steps, once, and what would never end is cancelled."""
    children: dict[int, list[Row]] = defaultdict(list)
    for row in left.runs.values():
        children[row["parent_id"]].append(row)
    for id, row in left.runs.items():
        if row["name"] != "saga":
            continue
        assert row["state"] == lifecycle.CANCELLED, f"saga {id}: {row['state']} {row['error']}"
        events = [child for child in children[id] if child["kind"] == EVENT]
        undone = [child for child in children[id] if child["name"] == "undo"]
        members = [member for child in undone if child["kind"] == GROUP for member in children[child["id"]]]
        states = Counter(child["state"] for child in (*undone, *members) if child["kind"] == TASK)
        assert states == ({lifecycle.COMPLETED: UNDONE} if events else {}), f"saga {id}: {states}"
        assert all(child["compensates"] for child in (*undone, *members))
    endless = {row["state"] for row in left.runs.values() if "endless" in row["name"]}
    assert endless <= {lifecycle.CANCELLED}


def lineage(left: Remains, row: Row) -> list[Row]:
    """Return all runs above this one."""
    found: list[Row] = []
    while row["parent_id"]:
        row = left.runs[row["parent_id"]]
        found.append(row)
    return found
