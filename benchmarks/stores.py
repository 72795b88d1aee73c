"""Where a workload keeps its store: a directory that the harness made, or one that goes away with the process."""

import atexit
import os
import tempfile
from pathlib import Path

VARIABLE = "BENCHMARK_STORE"
SUFFIXES = ("", "-wal", "-journal")


def store_path() -> Path:
    """Return the store file of this process: the one the harness named, else a fresh one, removed at exit."""
    named = os.environ.get(VARIABLE)
    if named:
        return Path(named).absolute()
    directory = tempfile.TemporaryDirectory(prefix="benchmark-")
    atexit.register(directory.cleanup)
    path = Path(directory.name) / "store.db"
    os.environ[VARIABLE] = str(path)
    return path


def store_url() -> str:
    """Return the store as a URL with an absolute path."""
    return f"sqlite:///{store_path()}"


def stored_bytes(path: Path) -> int:
    """Return what the store occupies in bytes; read it after the store is closed, which folds the log back."""
    return sum(part.stat().st_size for part in (Path(f"{path}{suffix}") for suffix in SUFFIXES) if part.exists())
