"""The same job the plain way: one walk in one process, without fanfold. What the durable scan must agree with.

It shares the list of what may not be read, not the way directories are read and numbers are added up.
"""

import argparse
import json
import os
from dataclasses import asdict
from pathlib import Path

from examples.scan_tree.scan import DEFAULT_DIR, LARGEST, TREE, DirReport, File, unreadable


def scan_sequentially(folder: Path) -> tuple[DirReport, list[str]]:
    """Return the totals of the tree in a folder, and the directories that may not be read. Holds all its files."""
    tree, closed = folder / TREE, unreadable(folder)
    files: list[File] = []
    refused: list[str] = []
    directories = 0
    for root, below, names in os.walk(tree):
        path = Path(root).relative_to(tree)
        if path.as_posix() in closed:
            refused.append(path.as_posix())
            below.clear()
            continue
        directories += 1
        files += [File((Path(root) / name).lstat().st_size, (path / name).as_posix()) for name in names]
    files.sort(key=lambda file: (-file.bytes, file.path))
    report = DirReport(directories, len(files), sum(file.bytes for file in files), files[:LARGEST])
    return report, sorted(refused)


def main() -> None:
    """Print the totals of a folder as JSON."""
    parser = argparse.ArgumentParser(description="Scan a tree in one process.")
    parser.add_argument("folder", type=Path, nargs="?", default=DEFAULT_DIR, help="the folder that generate wrote")
    report, refused = scan_sequentially(parser.parse_args().folder)
    print(json.dumps({"report": asdict(report), "refused": refused}))


if __name__ == "__main__":
    main()
