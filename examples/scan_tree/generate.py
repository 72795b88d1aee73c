"""Writes a tree of directories to scan. The same seed and numbers give the same tree on every machine and Python.

Files are links to a few sparse ones, so that a tree takes one inode a directory and hardly any room for contents.
Directories that cannot be read stand in a list, which the scan obeys: no permission would stop root.
"""

import argparse
import os
import random
from dataclasses import dataclass
from pathlib import Path

from examples.scan_tree.scan import DEFAULT_DIR, ROOT, TREE, UNREADABLE, below

DEFAULT_DIRS = 20_000
MAX_DIRS = 1_000_000
DEFAULT_UNREADABLE = 3
DEFAULT_SEED = 86

DIR_NAMES = ("photos", "music", "mail", "docs", "src", "logs", "cache", "old")
FILE_NAMES = ("readme.txt", "index.db", "notes.md", "cover.jpg", "data.csv", "build.log", "part.bin")
CONTENTS = 64  # each has thousands of links in the largest tree; file systems allow 65,000 and more
CONTENT_BITS = 22  # sizes below 4 MiB
BIG_BITS = 26  # and now and then a file of its own, below 64 MiB
BIG_SHARE = 0.01


@dataclass(frozen=True)
class Made:
    """What was written; the unreadable directories and their files are counted as well."""

    directories: int
    files: int
    bytes: int
    unreadable: list[str]


class TreeMaker:
    """Makes a tree from a seed. Uses `random()` alone: only its sequence is promised for ever."""

    def __init__(self, out_dir: Path, seed: int) -> None:
        self._random = random.Random(seed).random
        self._tree = out_dir / TREE
        self._contents: list[tuple[str, int]] = []
        folder = out_dir / "contents"
        folder.mkdir(parents=True)
        for number in range(CONTENTS):
            path, size = str(folder / f"{number}"), self._size(CONTENT_BITS)
            make_sparse(path, size)
            self._contents.append((path, size))

    def _below(self, limit: int) -> int:
        return int(self._random() * limit)

    def _size(self, bits: int) -> int:
        """Return a size of up to so many bits, each number of them as likely: small files are the most, as anywhere."""
        power = 1 << self._below(bits)
        return power + self._below(power)

    def directories(self, count: int) -> list[str]:
        """Make the directories, level by level, a dozen in one where there are any; return their paths."""
        self._tree.mkdir()
        paths = [ROOT]
        for number in range(1, count):
            parent = int(number * (0.02 + 0.1 * self._random()))
            path = below(paths[parent], f"{DIR_NAMES[self._below(len(DIR_NAMES))]}-{number}")
            (self._tree / path).mkdir()
            paths.append(path)
        return paths

    def files_in(self, path: str) -> list[int]:
        """Make the files of a directory and return their sizes; many have none."""
        folder = f"{self._tree}/{path}"
        first, sizes = self._below(len(FILE_NAMES)), list[int]()
        for number in range(self._below(8) * self._below(8) // 8):
            name = f"{folder}/{FILE_NAMES[(first + number) % len(FILE_NAMES)]}"
            if self._random() < BIG_SHARE:
                size = self._size(BIG_BITS)
                make_sparse(name, size)
            else:
                content, size = self._contents[self._below(CONTENTS)]
                os.link(content, name)
            sizes.append(size)
        return sizes

    def unreadable(self, paths: list[str], count: int) -> list[str]:
        """Choose leaves, so that each directory is found whether or not these can be read."""
        first_leaf = len(paths) // 8 + 1  # no parent's number is more than 0.12 of its child's
        chosen: set[str] = set()
        while len(chosen) < min(count, len(paths) - first_leaf):
            chosen.add(paths[first_leaf + self._below(len(paths) - first_leaf)])
        return sorted(chosen)


def make_sparse(path: str, size: int) -> None:
    """Make a file of this size that takes no room."""
    with open(path, "wb") as file:  # noqa: PTH123 - a hundred thousand of them: no object for each path
        file.truncate(size)


def generate(
    out_dir: Path, dirs: int = DEFAULT_DIRS, unreadable: int = DEFAULT_UNREADABLE, seed: int = DEFAULT_SEED
) -> Made:
    """Write a tree with this many directories, 1 to MAX_DIRS, its top included. The folder must be new or empty.

    The list of the unreadable ones is written last: without it nothing is scanned, so half a tree gives no numbers.
    """
    if not 1 <= dirs <= MAX_DIRS:
        raise ValueError(f"dirs is {dirs}; it goes from 1 to {MAX_DIRS:,}")
    if out_dir.exists() and any(out_dir.iterdir()):
        raise ValueError(f"{out_dir} is not empty; remove it, or choose another folder")
    maker = TreeMaker(out_dir, seed)
    paths = maker.directories(dirs)
    sizes = [size for path in paths for size in maker.files_in(path)]
    chosen = maker.unreadable(paths, unreadable)
    (out_dir / UNREADABLE).write_text("".join(f"{path}\n" for path in chosen))
    return Made(len(paths), len(sizes), sum(sizes), chosen)


def main() -> None:
    """Write the tree that the command line asks for and say what was written."""
    parser = argparse.ArgumentParser(description="Make a tree of directories to scan.")
    parser.add_argument("--dirs", type=int, default=DEFAULT_DIRS, help=f"directories, 1 to {MAX_DIRS:,}")
    parser.add_argument("--unreadable", type=int, default=DEFAULT_UNREADABLE, help="how many of them nobody may read")
    parser.add_argument("--out", type=Path, default=DEFAULT_DIR, help="folder to write to")
    parser.add_argument("--seed", type=int, default=DEFAULT_SEED, help="another seed, another tree")
    options = parser.parse_args()
    try:
        made = generate(options.out, options.dirs, options.unreadable, options.seed)
    except ValueError as error:
        parser.error(str(error))
    print(f"{options.out}: {made.directories:,} directories, {made.files:,} files, {made.bytes:,} bytes")
    print(f"not to be read: {', '.join(made.unreadable) or 'none'}")


if __name__ == "__main__":
    main()
