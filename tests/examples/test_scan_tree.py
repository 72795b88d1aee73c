"""A tree scanned by siblings that spawn siblings: the totals of the serial scan, also over kills at any commit."""

import asyncio
import json
import random
import re
from collections import Counter
from dataclasses import asdict, dataclass
from functools import reduce
from pathlib import Path
from typing import Any

import pytest

from examples.scan_tree import scan
from examples.scan_tree.generate import Made, generate
from examples.scan_tree.scan import LARGEST, TREE, UNREADABLE, DirReport, File, add_report, look_into
from examples.scan_tree.sequential import scan_sequentially
from fanfold.testing import TestApp
from tests.crash.kill_at_commit import NEVER, Ending, Kill, count_lines, finish, run, start, wait_for_end
from tests.crash.remains import Remains, wal_bytes
from tests.crash.remains import look_into as look_into_store

APP = "examples.scan_tree.app"
DIRS = 300
DELAY_S = 0.02  # a directory: a run of a second or so, long enough for checkpoints on the way
FEW_DIRS = 40
SEEDS = 2
DRAWS = 10

# How many of the directories have been started when the commits begin to count, and up to which of these it may live.
PHASES = {"spawning": (0.02, 3), "folding": (0.6, 8), "at the end": (1.0, 6)}

DIGEST = re.compile(r"([\d,]+) of ([\d,]+) failed: PermissionError on (.+)")


@dataclass(frozen=True)
class Tree:
    """A generated tree, and what the serial scan makes of it."""

    folder: Path
    made: Made
    report: DirReport
    refused: list[str]

    def check(self, result: Any) -> None:
        """Compare a scan's result, as JSON, with the serial one."""
        assert result["report"] == json.loads(json.dumps(asdict(self.report)))
        told = DIGEST.search(result["digest"])
        assert told, result["digest"]
        assert (told[1], told[2]) == (f"{len(self.refused):,}", f"{self.made.directories:,}")
        assert sorted(told[3].split(", ")) == self.refused


@dataclass(frozen=True)
class Job:
    """One durable scan: its store and its log of side effects."""

    tree: Tree
    folder: Path
    delay_s: float = DELAY_S

    @property
    def store(self) -> Path:
        return self.folder / "scan.db"

    @property
    def log(self) -> Path:
        return self.folder / "dirs.log"

    @property
    def env(self) -> dict[str, str]:
        return {
            "SCAN_TREE_DIR": str(self.tree.folder),
            "SCAN_TREE_LOG": str(self.log),
            "SCAN_TREE_DELAY_S": str(self.delay_s),
            "FANFOLD_STORE": f"sqlite:///{self.store}",
        }

    def run(self) -> Ending:
        """Scan to the end."""
        self.folder.mkdir(exist_ok=True)
        return run(APP, NEVER, self.env, self.folder)

    def run_until(self, share: float, kill: Kill) -> Ending:
        """Scan until this share of the directories has been started, over all lives, and then to `kill`."""
        self.folder.mkdir(exist_ok=True)
        moment, commits = self.folder / "moment", self.folder / "commits"
        moment.unlink(missing_ok=True)
        child = start(APP, kill, {**self.env, "CRASH_COUNT_FROM": str(moment), "CRASH_COMMITS": str(commits)})
        try:
            while count_lines(self.log) < share * self.tree.made.directories and child.poll() is None:
                wait_for_end(child, 0.001)
            moment.touch()
        finally:
            ending = finish(child, commits)
        return ending

    def started(self, pid: int | None = None) -> Counter[str]:
        """Return the directories whose scan one process started, or all of them did, and how often."""
        lines = [line.split(" ", 1) for line in self.log.read_text().splitlines()] if self.log.exists() else []
        return Counter(path for starter, path in lines if pid in (None, int(starter)))


def make(folder: Path, dirs: int, **options: int) -> Tree:
    """Generate a tree and scan it serially."""
    made = generate(folder, dirs, **options)
    return Tree(folder, made, *scan_sequentially(folder))


def all_paths(tree: Tree) -> set[str]:
    """List the directories of a tree."""
    top = tree.folder / TREE
    return {path.relative_to(top).as_posix() for path in (top, *top.rglob("*")) if path.is_dir()}


def printed(ending: Ending) -> Any:
    """Return the last line that a scan printed, as JSON."""
    return json.loads(ending.output.splitlines()[-1])


def ended_paths(remains: Remains) -> set[str]:
    """Return the directories that a store has a report or an error of."""
    return {json.loads(row["input"])["path"] for row in remains.ended.values() if row["name"] == "scan_dir"}


def known_paths(remains: Remains) -> set[str]:
    """Return the directories that a store has a row for."""
    return {json.loads(row["input"])["path"] for row in remains.runs.values() if row["name"] == "scan_dir"}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    return make(tmp_path_factory.mktemp("tree"), DIRS)


# The durable scan -----------------------------------------------------------------------------------------------------


def test_a_scan_gives_the_totals_of_the_serial_scan_and_names_the_three_that_it_may_not_read(tree: Tree, tmp_path):
    job = Job(tree, tmp_path / "job", delay_s=0)
    whole = job.run()
    tree.check(printed(whole))
    assert job.started() == Counter(all_paths(tree))
    assert whole.output.splitlines()[-2] == printed(whole)["digest"]
    assert f"{DIRS - 3} directories, " in whole.output


def test_a_tree_that_can_be_read_everywhere_has_no_failures(tmp_path):
    tree = make(tmp_path / "tree", FEW_DIRS, unreadable=0)
    result = printed(Job(tree, tmp_path / "job", delay_s=0).run())
    assert result["report"] == json.loads(json.dumps(asdict(tree.report)))
    assert " failed" not in result["digest"]


def test_a_finished_scan_leaves_a_row_for_each_directory_and_nothing_that_is_open(tree: Tree, tmp_path):
    job = Job(tree, tmp_path / "job", delay_s=0)
    job.run()
    remains = look_into_store(job.store)
    assert remains.violations == []
    assert len(remains.ended) == len(remains.runs)
    assert known_paths(remains) == all_paths(tree)
    assert {json.loads(row["input"])["path"] for row in remains.completed("scan_dir")} == (
        all_paths(tree) - set(tree.refused)
    )


def resume(job: Job, killed: Ending) -> Remains:
    """Start a killed scan again and check all that must hold; return what the kill left."""
    left = look_into_store(job.store)
    assert left.violations == []
    ended = ended_paths(left)
    first = job.started(killed.pid)
    assert ended <= job.started().keys(), "a directory is recorded that was never scanned"
    assert known_paths(left) <= all_paths(job.tree)
    assert set(first.values()) <= {1}, "one process scanned a directory twice"

    second = job.run()
    job.tree.check(printed(second))
    again = job.started(second.pid)
    # A finished run is not gone on with: the next start is a new scan of everything.
    expected = all_paths(job.tree) - (ended if left.is_unfinished else set())
    assert again == Counter(expected), "what was recorded was scanned again, or something was left out"

    after = look_into_store(job.store)
    assert after.violations == []
    assert len(after.ended) == len(after.runs)
    assert {id: after.runs.get(id) for id in left.ended} == left.ended, "what had ended has changed"
    assert wal_bytes(job.store) == 0
    return left


@pytest.mark.parametrize("seed", range(SEEDS))
@pytest.mark.parametrize("phase", PHASES)
def test_a_scan_killed_at_a_commit_ends_with_the_serial_totals_and_scans_nothing_again_that_is_recorded(
    tree: Tree, tmp_path, phase: str, seed: int
):
    draw = random.Random(f"{phase} {seed}")
    share, last = PHASES[phase]
    for number in range(DRAWS):  # how many commits a run has is a matter of luck: draw again beyond it
        job = Job(tree, tmp_path / f"draw-{number}")
        kill = Kill(draw.randint(1, last), ("before", "after")[seed % 2])
        killed = job.run_until(share, kill)
        if killed.was_killed:
            break
        last = killed.commits
    assert killed.was_killed
    left = resume(job, killed)
    print(f"{kill}: {len(known_paths(left))} found, {len(ended_paths(left))} done, finished: {not left.is_unfinished}")
    assert left.is_unfinished or phase == "at the end"
    if phase == "spawning":
        assert known_paths(left) < all_paths(tree)
    elif phase == "folding":
        assert 0 < len(ended_paths(left)) < DIRS
    else:
        assert known_paths(left) == all_paths(tree)


def test_a_scan_that_is_killed_again_and_again_ends_with_the_serial_totals(tree: Tree, tmp_path):
    job, done = Job(tree, tmp_path / "job"), [0]
    for share in (0.05, 0.3, 0.6, 0.9):
        killed = job.run_until(share, Kill(2, "after"))
        assert killed.was_killed
        left = look_into_store(job.store)
        assert left.violations == []
        assert left.is_unfinished
        done.append(len(ended_paths(left)))
    assert sorted(done) == done, "what was done was lost"
    resume(job, killed)


def test_a_scan_whose_engine_dies_at_any_commit_ends_with_the_serial_totals(tmp_path, monkeypatch):
    from examples.scan_tree.app import Scan, app, scan_tree

    tree = make(tmp_path, FEW_DIRS)
    monkeypatch.setenv("SCAN_TREE_DIR", str(tree.folder))

    async def scan_once(crash_at: int, crash_before: int) -> tuple[Scan, int]:
        async with TestApp(app, crash_at=crash_at, crash_before=crash_before) as test:
            return await test.run(scan_tree), test.commits

    _, commits = asyncio.run(scan_once(0, 0))
    for commit in range(1, commits + 1):
        for place in ((commit, 0), (0, commit)):
            result, _ = asyncio.run(scan_once(*place))
            tree.check(json.loads(json.dumps(asdict(result))))


# The parts without fanfold --------------------------------------------------------------------------------------------


def test_reports_add_up_to_the_same_in_any_order(tree: Tree, monkeypatch):
    monkeypatch.setenv("SCAN_TREE_DIR", str(tree.folder))
    reports = [look_into(path)[0] for path in sorted(all_paths(tree) - set(tree.refused))]
    random.Random(0).shuffle(reports)
    assert reduce(add_report, reports, DirReport()) == tree.report


def test_a_directory_is_reported_without_what_lies_below_it(tmp_path, monkeypatch):
    top = tmp_path / TREE
    (top / "a" / "b").mkdir(parents=True)
    (top / "a" / "b" / "deep").write_bytes(b"123456")
    for number in range(LARGEST + 2):
        (top / "a" / f"file-{number}").write_bytes(b"x" * (number % 4))
    (top / "a" / "loop").symlink_to(top)
    (tmp_path / UNREADABLE).write_text("")
    monkeypatch.setenv("SCAN_TREE_DIR", str(tmp_path))
    names = ["file-3", "file-2", "file-6", "file-1", "file-5"]
    largest = [File(size, f"a/{name}") for size, name in zip((3, 2, 2, 1, 1), names, strict=True)]
    assert look_into("a") == (DirReport(1, LARGEST + 2, 9, largest), ["a/b"])
    assert look_into(".") == (DirReport(1), ["a"])


def test_a_listed_directory_is_refused_also_to_root(tree: Tree, monkeypatch):
    monkeypatch.setenv("SCAN_TREE_DIR", str(tree.folder))
    for path in tree.refused:
        with pytest.raises(PermissionError, match=re.escape(path)):
            look_into(path)


def test_without_the_list_nothing_is_scanned(tmp_path, monkeypatch):
    (tmp_path / TREE).mkdir()
    monkeypatch.setenv("SCAN_TREE_DIR", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=re.escape(UNREADABLE)):
        look_into(".")


# The generator --------------------------------------------------------------------------------------------------------


def test_the_same_seed_makes_the_same_tree_and_another_one_another(tmp_path):
    first, second, other = (make(tmp_path / name, 100, seed=seed) for name, seed in (("a", 1), ("b", 1), ("c", 2)))
    assert (first.made, first.report, all_paths(first)) == (second.made, second.report, all_paths(second))
    assert all_paths(first) != all_paths(other)


def test_a_tree_has_what_the_generator_says(tmp_path):
    tree = make(tmp_path, DIRS, unreadable=0)
    made, report = tree.made, tree.report
    assert (made.directories, made.files, made.bytes) == (report.directories, report.files, report.bytes)
    assert (made.directories, made.unreadable, tree.refused) == (DIRS, [], [])


def test_the_readme_shows_what_a_scan_of_the_default_seed_prints(tree: Tree):
    report = tree.report
    text = (Path(scan.__file__).parent / "README.md").read_text()
    assert f"\n{report.directories} directories, {report.files} files, {report.bytes:,} bytes\n" in text
    assert [line.split() for line in re.findall(r"^ +[\d,]+  \S+$", text, re.MULTILINE)] == [
        [f"{file.bytes:,}", file.path] for file in report.largest
    ]
    told = DIGEST.search(text)
    assert told
    assert (told[1], told[2], sorted(told[3].split(", "))) == ("3", "300", tree.refused)


@pytest.mark.parametrize(("dirs", "unreadable"), [(1, 0), (2, 1), (3, 2), (5, 3)])
def test_only_leaves_are_unreadable_so_that_every_directory_is_found(tmp_path, dirs: int, unreadable: int):
    tree = make(tmp_path, dirs)
    assert len(tree.refused) == unreadable
    assert tree.report.directories == dirs - unreadable
    assert not [path for path in all_paths(tree) if path.rpartition("/")[0] in tree.refused]


def test_a_tree_takes_an_inode_a_directory_and_no_room_for_contents(tree: Tree):
    files = [path.stat() for path in (tree.folder / TREE).rglob("*") if path.is_file()]
    assert len({(file.st_dev, file.st_ino) for file in files}) < DIRS / 2 < len(files)
    assert sum(file.st_blocks for file in files) * 512 < tree.made.bytes / 100


def test_a_folder_that_holds_something_is_left_as_it_is(tree: Tree):
    with pytest.raises(ValueError, match="is not empty"):
        generate(tree.folder)


@pytest.mark.parametrize("dirs", [0, 1_000_001])
def test_a_number_of_directories_that_cannot_be_made_is_refused(tmp_path, dirs: int):
    with pytest.raises(ValueError, match="it goes from 1 to 1,000,000"):
        generate(tmp_path / "tree", dirs)
