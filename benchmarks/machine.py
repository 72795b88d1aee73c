"""The facts beside the figures: machine, versions, load. Names of hosts, users and paths stay out of the results."""

import importlib.metadata
import os
import platform
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.process import ROOT

PACKAGES = ("fanfold", "apsw", "msgspec")


def facts() -> dict[str, Any]:
    """Return processor, cores, memory in MiB, system, and the file system that holds the stores."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_mib": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20,
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "file_system": _file_system(Path(tempfile.gettempdir())),
    }


def versions() -> dict[str, str]:
    """Return the versions of Python, SQLite and the packages that the figures depend on."""
    import apsw

    found = {"python": platform.python_version(), "sqlite": apsw.sqlite_lib_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def load() -> list[float]:
    """Return the load averages of the last 1, 5 and 15 minutes."""
    return [round(average, 2) for average in os.getloadavg()]


def commit() -> str:
    """Return the short id of the commit that is measured, with "-changed" when files differ from it."""
    short = _git("rev-parse", "--short", "HEAD")
    if not short:
        return "uncommitted"
    return f"{short}-changed" if _git("status", "--porcelain", "--", "src", "benchmarks/*.py") else short


def _git(*arguments: str) -> str:
    """Return what git prints, or nothing where there is no git or no commit."""
    try:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _processor() -> str:
    """Return the processor's model name, where the system tells it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or "unknown"


def _file_system(directory: Path) -> str:
    """Return the type of the file system under `directory`: on tmpfs a FULL commit costs nothing and proves nothing."""
    try:
        mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines()]
    except OSError:
        return "unknown"
    under = [(point, kind) for point, kind in mounts if directory.resolve().is_relative_to(point)]
    return max(under, key=lambda mount: len(mount[0]))[1] if under else "unknown"
