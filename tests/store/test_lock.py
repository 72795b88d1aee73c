"""One engine a file: a second one is told who has it, and a dead one holds nothing."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fanfold.engine.writers import drive
from fanfold.errors import StoreInUse
from fanfold.store.opening import FileLock, open_reader, open_store
from fanfold.store.queries import Queries

# Waits for its end with the store open; at each line that it is sent it says whether it can still write.
HOLDER = """
import sys
from fanfold.engine.writers import drive
from fanfold.store.opening import open_store
opened = drive(open_store(sys.argv[1]))
print("open", flush=True)
for line in sys.stdin:
    drive(opened.writer.begin())
    drive(opened.writer.commit())
    print("written", flush=True)
"""
# Tries for the lock that SQLite takes of a file that nobody else has open: before it removes the log, for instance.
ALONE = """
import fcntl, sys
with open(sys.argv[1], "r+b") as file:
    fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 510, 0x40000002)
"""


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/store.db"


@pytest.fixture
def holder(url: str) -> Iterator[subprocess.Popen[str]]:
    """Another process with the store open."""
    command = [sys.executable, "-c", HOLDER, url]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        yield process
        process.kill()


def test_a_second_engine_is_told_which_process_holds_the_store(url: str, holder: subprocess.Popen[str]):
    with pytest.raises(StoreInUse, match="one engine a file") as raised:
        drive(open_store(url))
    assert raised.value.pid == holder.pid
    assert str(holder.pid) in str(raised.value)


def test_the_lock_of_a_killed_process_is_free_at_once(url: str, holder: subprocess.Popen[str], tmp_path: Path):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert (tmp_path / "store.db.lock").read_text() == f"{holder.pid}\n"
    drive(open_store(url)).close()


def test_a_second_engine_in_the_same_process_is_refused_as_well(url: str):
    opened = drive(open_store(url))
    with pytest.raises(StoreInUse) as raised:
        drive(open_store(url))
    assert raised.value.pid == os.getpid()
    opened.close()
    drive(open_store(url)).close()


def test_a_process_that_this_one_starts_does_not_keep_the_lock(url: str):
    opened = drive(open_store(url))
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, close_fds=False):
        opened.close()
        drive(open_store(url)).close()


def test_a_lock_with_nonsense_in_it_is_taken_and_told_without_a_pid(tmp_path: Path):
    path = tmp_path / "a.lock"
    path.write_bytes(b"\xff what is this, and why is it longer than a process id?\n")
    lock = FileLock(path)
    assert path.read_text() == f"{os.getpid()}\n"
    path.write_bytes(b"")
    with pytest.raises(StoreInUse, match=r"\(unknown\)") as raised:
        FileLock(path)
    assert raised.value.pid is None
    lock.release()


# A lock file that is gone ---------------------------------------------------------------------------------------------


def is_alone(path: Path) -> bool:
    """Tell whether another process would think that no connection is open."""
    done = subprocess.run([sys.executable, "-c", ALONE, str(path)], stderr=subprocess.DEVNULL, check=False)
    return done.returncode == 0


def test_an_engine_keeps_others_out_when_its_lock_file_is_deleted(
    url: str, holder: subprocess.Popen[str], tmp_path: Path
):
    (tmp_path / "store.db.lock").unlink()
    for _ in range(2):  # the first one leaves a lock file of its own behind
        with pytest.raises(StoreInUse, match="its lock file was deleted") as raised:
            drive(open_store(url))
        assert raised.value.pid is None
    assert holder.stdin is not None
    assert holder.stdout is not None
    holder.stdin.write("write\n")
    holder.stdin.flush()
    assert holder.stdout.readline() == "written\n"


def test_a_dead_engine_whose_lock_file_is_deleted_keeps_nobody_out(
    url: str, holder: subprocess.Popen[str], tmp_path: Path
):
    holder.kill()
    holder.wait()
    (tmp_path / "store.db.lock").unlink()
    assert (tmp_path / "store.db-wal").exists()
    drive(open_store(url)).close()
    drive(open_store(url)).close()


@pytest.mark.parametrize("makes_log", [True, False])
def test_the_log_is_locked_whether_or_not_it_was_there_before(url: str, tmp_path: Path, *, makes_log: bool):
    if not makes_log:
        drive(open_store(url)).close()
    opened = drive(open_store(url))
    (tmp_path / "store.db.lock").unlink()
    with pytest.raises(StoreInUse, match="its lock file was deleted"):
        drive(open_store(url))
    opened.close()
    drive(open_store(url)).close()


def test_an_engine_keeps_others_out_by_another_name_of_its_file(url: str, tmp_path: Path):
    opened = drive(open_store(url))
    (tmp_path / "other.db").symlink_to("store.db")
    with pytest.raises(StoreInUse, match="another name"):
        drive(open_store(f"sqlite:///{tmp_path}/other.db"))
    opened.close()
    drive(open_store(f"sqlite:///{tmp_path}/other.db")).close()


def test_a_refused_engine_in_the_same_process_takes_nothing_from_the_one_at_work(url: str, tmp_path: Path):
    opened = drive(open_store(url))
    (tmp_path / "store.db.lock").unlink()
    with pytest.raises(StoreInUse):
        drive(open_store(url))
    assert not is_alone(tmp_path / "store.db")
    opened.close()
    assert is_alone(tmp_path / "store.db")


def test_an_engine_that_opens_beside_a_reader_in_the_same_process_takes_nothing_from_it(url: str, tmp_path: Path):
    drive(open_store(url)).close()
    reader = drive(open_reader(url))
    drive(Queries(reader).meta())
    opened = drive(open_store(url))
    assert not is_alone(tmp_path / "store.db")
    opened.close()
    assert not is_alone(tmp_path / "store.db")
    reader.close()
