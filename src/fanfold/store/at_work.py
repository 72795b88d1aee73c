"""Which bodies are at work, for the next start: a small file beside the store that outlives a killed process.

When a process dies, the store says what it had claimed; most of that had not begun. Only what was at work can have
killed it. The file is mapped into memory, so that a body costs one assignment and no system call; it is not
synchronised to the disk, since after a power failure nobody is to blame.
"""

from __future__ import annotations

import contextlib
import mmap
import os
from array import array
from pathlib import Path

_BYTES = 8  # one run id


class AtWork:
    """So many places, each with the id of a run that is at work there, or 0. Place 0 is for what has no place."""

    def __init__(self, path: Path | None, places: int, before: frozenset[int] = frozenset()) -> None:
        """`path` is the file, None for a store in memory; `before` is what was at work when the last engine died."""
        self._path = path
        self.before = before if path is None else _read(path)
        self._map: mmap.mmap | None = None
        self.runs: memoryview | array[int] = array("q", bytes(_BYTES * (places + 1)))
        if path is not None:
            with contextlib.suppress(OSError):  # where there is no room for it, the next start blames nobody
                self.runs = self._open(path, len(self.runs) * _BYTES)
        self._free = list(range(places, 0, -1))

    def _open(self, path: Path, size: int) -> memoryview:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            # Written, not only made so long: a page that finds no room when it is touched kills the process.
            written = os.write(descriptor, bytes(size))
            if written < size:
                raise OSError(f"only {written} of {size} bytes could be written")
            self._map = mmap.mmap(descriptor, size)
        finally:
            os.close(descriptor)
        return memoryview(self._map).cast("q")

    def take(self, run_id: int = 0) -> int:
        """Return a place, with this run in it."""
        place = self._free.pop() if self._free else 0
        self.runs[place] = run_id
        return place

    def give(self, place: int) -> None:
        """Give a place back."""
        self.runs[place] = 0
        if place:
            self._free.append(place)

    def again(self) -> AtWork:
        """Return what the next engine finds after a death, for stores in memory."""
        return AtWork(None, len(self.runs) - 1, frozenset(id for id in self.runs[1:] if id))

    def close(self) -> None:
        """Remove the file: this engine ends in good order, or was asked to end; whatever ends it now blames nobody.

        Once, since the next engine may have made its own; and from a signal's handler as well.
        """
        path, self._path = self._path, None
        if path is None:
            return
        self.runs = array("q", bytes(_BYTES * len(self.runs)))
        with contextlib.suppress(OSError):  # where it cannot be removed, somebody is blamed
            path.unlink(missing_ok=True)


def _read(path: Path) -> frozenset[int]:
    try:
        data = path.read_bytes()
    except OSError:
        return frozenset()
    ids = array("q", data[: len(data) // _BYTES * _BYTES])
    return frozenset(id for id in ids[1:] if id > 0)
