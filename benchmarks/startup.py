"""P9: how long `import fanfold` and `fanfold --help` take in fresh processes, beside `import asyncio`.

An import is timed inside its process, without the start of the interpreter, which would flatter the ratio; the
command by its whole process, against the whole process of `python -c "import asyncio"`. Medians; the kinds take turns,
and each runs once before anything counts, so that the bytecode is there.
"""

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.process import ROOT
from benchmarks.sample import PROFILED_FUNCTIONS, Figures, emit

PROCESSES = 30
LEAST = 3
IMPORT = """
import sys, time
started = time.perf_counter()
import {module}
print(time.perf_counter() - started)
"""
UNWANTED = ("starlette", "uvicorn", "rich", "pydantic")

# "import time: <own us> | <cumulative us> | <indented module>", on standard error
IMPORT_TIME = "import time:"


def command_line() -> list[str]:
    """Return the program that stands beside this interpreter."""
    return [str(Path(sys.executable).with_name("fanfold")), "--help"]


def import_of(module: str) -> list[str]:
    """Return a program that prints the seconds of an import."""
    return [sys.executable, "-c", IMPORT.format(module=module)]


def run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run a command from the root of the tree; CalledProcessError if it fails."""
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)


def timed(command: Sequence[str]) -> tuple[float, float]:
    """Return the ms that a command took as a whole, and those that it printed; 0 when it printed something else."""
    started = time.perf_counter()
    done = run(command)
    whole_s = time.perf_counter() - started
    try:
        return whole_s * 1e3, float(done.stdout) * 1e3
    except ValueError:
        return whole_s * 1e3, 0.0


def imported(program: Sequence[str]) -> list[tuple[int, str]]:
    """Return what a Python program imports, with the microseconds of each module's own; `program` as after `python`."""
    lines = run([sys.executable, "-X", "importtime", *program]).stderr.splitlines()
    rows = [line.removeprefix(IMPORT_TIME).split("|") for line in lines if line.startswith(IMPORT_TIME)]
    return [(int(own), module.strip()) for own, _, module in rows if own.strip().isdigit()]


def unwanted(program: Sequence[str]) -> list[str]:
    """Return the modules that a program imports and must not."""
    return [module for _, module in imported(program) if module.partition(".")[0] in UNWANTED]


def work(processes: int) -> Figures:
    """Start that many processes of each kind; return medians in ms and how many unwanted modules were imported."""
    commands = {
        "asyncio": import_of("asyncio"),
        "fanfold": import_of("fanfold"),
        "help": command_line(),
    }
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
    for turn in range(processes + 1):
        for name, command in commands.items():
            taken[name].append(timed(command))
        if turn == 0:
            taken = {name: [] for name in commands}
    whole_ms = {name: statistics.median(whole for whole, _ in pairs) for name, pairs in taken.items()}
    own_ms = {name: statistics.median(own for _, own in pairs) for name, pairs in taken.items()}
    found = [*unwanted(["-c", "import fanfold"]), *unwanted(command_line())]
    return {
        "processes": processes,
        "asyncio_import_ms": own_ms["asyncio"],
        "import_ms": own_ms["fanfold"],
        "asyncio_process_ms": whole_ms["asyncio"],
        "import_process_ms": whole_ms["fanfold"],
        "help_process_ms": whole_ms["help"],
        "unwanted": len(found),
        "unwanted_modules": " ".join(found),
    }


def profile() -> Figures:
    """Print the modules that cost `import fanfold` most to standard error, each without what it imports."""
    modules = imported(["-c", "import fanfold"])
    for own_us, module in sorted(modules, reverse=True)[:PROFILED_FUNCTIONS]:
        print(f"{own_us / 1e3:8.2f} ms  {module}", file=sys.stderr)
    return {"modules": len(modules), "own_ms": sum(own_us for own_us, _ in modules) / 1e3, "profiled": True}


def main() -> None:
    """Measure once and print one JSON line."""
    parser = argparse.ArgumentParser(description="P9: imports and the command in fresh processes.")
    parser.add_argument("--n", type=int, default=PROCESSES, help="processes of each kind; at least 3")
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    emit(profile() if options.profile else work(max(options.n, LEAST)))


if __name__ == "__main__":
    main()
