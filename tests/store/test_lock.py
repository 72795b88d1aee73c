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
from fanfold.store.opening import FileLock, open_store

HOLDER = """
import sys
from fanfold.engine.writers import drive
from fanfold.store.opening import open_store
opened = drive(open_store(sys.argv[1]))
print("open", flush=True)
sys.stdin.read()
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
