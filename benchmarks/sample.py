"""What one measuring process reports: a single JSON line on standard output.

Every measurement runs in a process of its own, so that memory, imports and caches of one never colour the next.
"""

import cProfile
import json
import pstats
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

Figure = float | int | str | bool | list[list[float]] | None  # a list is a curve of points
Figures = dict[str, Figure]

PROFILED_FUNCTIONS = 25


def peak_rss_mib() -> float:
    """Return the peak resident memory of this process in MiB.

    Linux carries `ru_maxrss` over from the process that forked, so the kernel's own high-water mark comes first.
    """
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    except OSError:
        pass
    unit = 1 << 20 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def emit(figures: Figures) -> None:
    """Print the figures with peak memory in MiB and CPU seconds as the one JSON line that the harness reads."""
    whole = {**figures, "peak_rss_mib": round(peak_rss_mib(), 1), "cpu_s": round(time.process_time(), 3)}
    print(json.dumps(whole), flush=True)


def measured(work: Callable[[], Figures], *, profile: bool) -> None:
    """Run `work` and emit its figures; with `profile`, print the functions with the most own time to standard error.

    The profiler sees the calling thread only: the thread that writes to the database is not in its table, and
    the timings of a profiled run are two to three times too long.
    """
    if not profile:
        emit(work())
        return
    profiler = cProfile.Profile()
    figures = profiler.runcall(work)
    pstats.Stats(profiler, stream=sys.stderr).sort_stats("tottime").print_stats(PROFILED_FUNCTIONS)
    emit({**figures, "profiled": True})


def quantile(values: list[float], share: float) -> float:
    """Return the value below which `share` (0 to 1) of the values lie, by rank."""
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, int(len(ranked) * share))]
