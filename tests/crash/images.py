"""Crash images: what a power cut can leave of a store's log, made from the record of a whole run.

SQLite appends a transaction to the log as frames, each a page with a running checksum; the last one of a transaction
says so. Whatever is cut off or spoilt, what may be read afterwards is what the last whole transaction left.
"""

import random
import subprocess
import sys
from bisect import bisect_right
from dataclasses import dataclass
from pathlib import Path

from tests.crash.fan_out import Size
from tests.crash.kill_at_commit import PATIENCE_S, ROOT
from tests.crash.lives import settings

LOG_HEADER = 32
FRAME_HEADER = 24
SECTOR = 512


@dataclass(frozen=True)
class Image:
    """The log as a crash left it: its first `length` bytes, and where it is spoilt (None: nowhere)."""

    length: int
    spoilt_at: int | None = None

    @property
    def whole_bytes(self) -> int:
        """How much of the log is as it was written."""
        return self.length if self.spoilt_at is None else min(self.length, self.spoilt_at)


@dataclass(frozen=True)
class Recording:
    """A whole run: the store's file, its log, and after each commit the log's length and the digest of the contents."""

    file: bytes
    log: bytes
    lengths: list[int]
    digests: list[str]

    @property
    def page_bytes(self) -> int:
        """The size of a page."""
        return int.from_bytes(self.log[8:12], "big")

    @property
    def boundaries(self) -> range:
        """Where frames begin and end."""
        return range(LOG_HEADER, len(self.log) + 1, FRAME_HEADER + self.page_bytes)

    def pages(self) -> dict[int, bytes]:
        """Return the newest content of each page in the log, by its number from 1."""
        found: dict[int, bytes] = {}
        for start in self.boundaries[:-1]:
            number = int.from_bytes(self.log[start : start + 4], "big")
            page_at = start + FRAME_HEADER
            found[number] = self.log[page_at : page_at + self.page_bytes]
        return found

    def ends_of_commits(self) -> list[int]:
        """Return where transactions end, by what their last frames say."""
        return [
            after
            for start, after in zip(self.boundaries, self.boundaries[1:], strict=False)
            if any(self.log[start + 4 : start + 8])
        ]

    def digest_at(self, whole_bytes: int) -> str:
        """Return what a store must hold when so much of its log is as it was written; empty before the schema."""
        commits = bisect_right(self.lengths, whole_bytes)
        return self.digests[commits - 1] if commits else ""

    def write(self, image: Image, store: Path, spoil: random.Random) -> None:
        """Make the files that a crash would have left."""
        log = bytearray(self.log[: image.length])
        if image.spoilt_at is not None:
            log[image.spoilt_at : image.spoilt_at + SECTOR] = spoil.randbytes(SECTOR)
        store.write_bytes(self.file)
        Path(f"{store}-wal").write_bytes(log)


def record(folder: Path, size: Size) -> Recording:
    """Run the fan-out in a process of its own, and take what it left."""
    store, commits = folder / "recorded.db", folder / "commits"
    command = [sys.executable, "-m", "tests.crash.recorder", str(commits)]
    subprocess.run(command, cwd=ROOT, env=settings(store, size), timeout=PATIENCE_S, check=True, capture_output=True)
    lines = [line.split() for line in commits.read_text().splitlines()]
    log = Path(f"{store}-wal").read_bytes()
    return Recording(store.read_bytes(), log, [int(line[0]) for line in lines], [line[1] for line in lines])


def draw_images(recording: Recording, count: int, seed: int) -> list[Image]:
    """Choose images: every frame boundary, as far as they go, else cuts within frames and spoilt sectors by halves."""
    draw = random.Random(seed)
    images = [Image(0), *(Image(length) for length in recording.boundaries)]
    if len(images) > count:
        images = draw.sample(images, count)
    size = len(recording.log)
    for number in range(count - len(images)):
        if number % 2:
            images.append(Image(draw.randrange(size)))
        else:
            images.append(Image(size - draw.randrange(size // 4), draw.randrange(LOG_HEADER, size)))
    return images
