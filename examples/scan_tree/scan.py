"""Looks into one directory, and adds reports up. Plain functions; what makes the scan durable is in `app.py` alone."""

import errno
import os
import time
from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import NamedTuple

DEFAULT_DIR = Path(__file__).resolve().parents[2] / "build" / "scan_tree"
TREE = "tree"  # in the folder: what is scanned
UNREADABLE = "unreadable.txt"  # beside it: a line for each directory that may not be read
ROOT = "."  # the path of the top; all other paths are relative to it
LARGEST = 5


class File(NamedTuple):
    """A file and its size in bytes."""

    bytes: int
    path: str


@dataclass
class DirReport:
    """What one directory holds, those below it left out; or many of them together."""

    directories: int = 0
    files: int = 0
    bytes: int = 0
    largest: list[File] = field(default_factory=list)


def add_report(total: DirReport, report: DirReport) -> DirReport:
    """Add a report to the total. Its order makes no difference: reports come in as directories are done."""
    return DirReport(
        directories=total.directories + report.directories,
        files=total.files + report.files,
        bytes=total.bytes + report.bytes,
        largest=largest_of([*total.largest, *report.largest]),
    )


def largest_of(files: Iterable[File]) -> list[File]:
    """Return the few largest files, equal ones in the order of their paths."""
    return sorted(files, key=lambda file: (-file.bytes, file.path))[:LARGEST]


def look_into(path: str) -> tuple[DirReport, list[str]]:
    """Return the report of one directory, and the paths of those in it. Links are not followed."""
    files: list[File] = []
    found: list[str] = []
    with scandir(path) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                found.append(below(path, entry.name))
            elif entry.is_file(follow_symlinks=False):
                files.append(File(entry.stat(follow_symlinks=False).st_size, below(path, entry.name)))
    return DirReport(1, len(files), sum(file.bytes for file in files), largest_of(files)), found


def below(path: str, name: str) -> str:
    """Return the path of something in a directory."""
    return name if path == ROOT else f"{path}/{name}"


def scandir(path: str) -> AbstractContextManager[Iterable[os.DirEntry[str]]]:
    """Do what `os.scandir` does, and refuse what is listed as unreadable, also to root.

    SCAN_TREE_DELAY_S makes every directory that many seconds slower, as if the disk were far away.
    """
    if delay_s := float(os.environ.get("SCAN_TREE_DELAY_S") or 0):
        time.sleep(delay_s)
    folder = data_dir()
    full_path = folder / TREE / path
    if path in unreadable(folder):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(full_path))
    return os.scandir(full_path)


def data_dir() -> Path:
    """Return the folder that `generate` wrote."""
    return Path(os.environ.get("SCAN_TREE_DIR") or DEFAULT_DIR)


@cache
def unreadable(folder: Path) -> frozenset[str]:
    """Return the directories that may not be read; an error where `generate` has not come to its end."""
    return frozenset((folder / UNREADABLE).read_text().splitlines())
