"""The scan as a durable job: every directory is a member of one group, and adds those that it finds.

`python -m examples.scan_tree.app` runs it to the end; after a crash the same command goes on where it stopped.
SCAN_TREE_DIR is the folder that `generate` wrote, FANFOLD_STORE the store, SCAN_TREE_LOG a file that gets one line for
each directory whose scan starts.
"""

import json
import os
from dataclasses import asdict, dataclass
from functools import cache

from examples.scan_tree.scan import ROOT, DirReport, add_report, look_into
from fanfold import App, current, open_group

app = App("scan-tree", threads=8)


@dataclass
class Scan:
    """The totals of all that could be read, and in a sentence what could not."""

    report: DirReport
    digest: str


@app.task
def scan_dir(path: str) -> DirReport:
    """Report one directory. Those in it join the group in the commit that records this report, or not at all."""
    log_start(path)
    report, found = look_into(path)
    for sub in found:
        current().group.spawn(scan_dir.options(key=sub), sub)
    return report


@app.workflow
async def scan_tree() -> Scan:
    """Scan from the top, and add up the reports as they come in: neither they nor the paths are ever held at once."""
    # More members than threads: the next ones are at hand while results are being committed.
    async with open_group(failures="collect", concurrency=200) as group:
        group.spawn(scan_dir.options(key=ROOT), ROOT)
        report = await group.fold(add_report, DirReport())
    return Scan(report, str(group.summary))


@cache
def log() -> int | None:
    """Open SCAN_TREE_LOG once, if it is set; one write a line, so that lines stay whole and outlive `kill -9`."""
    path = os.environ.get("SCAN_TREE_LOG")
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644) if path else None


def log_start(path: str) -> None:
    """Write `pid path`: what really ran, to be compared with what the store says."""
    if (file := log()) is not None:
        os.write(file, f"{os.getpid()} {path}\n".encode())


def main() -> None:
    """Run the scan, or go on with it; print the totals and the digest, and all of it as JSON in the last line."""
    scan = app.run(scan_tree)
    report = scan.report
    print(f"{report.directories:,} directories, {report.files:,} files, {report.bytes:,} bytes")
    for file in report.largest:
        print(f"{file.bytes:>12,}  {file.path}")
    print(scan.digest)
    print(json.dumps(asdict(scan)))


if __name__ == "__main__":
    main()
