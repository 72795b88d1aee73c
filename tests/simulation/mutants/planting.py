"""Plants a bug in a copy of the package, and runs the simulation on that copy in a process of its own."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.house.source import PACKAGE, ROOT
from tests.simulation.mutants.mutant import Mutant

SOURCE = ROOT / PACKAGE


def misfits(mutant: Mutant) -> list[str]:
    """Return the edits whose old text does not occur exactly once in today's source."""
    found = [(edit, (SOURCE / edit.file).read_text().count(edit.old)) for edit in mutant.edits]
    return [f"{mutant.number}: {edit.file} has {count} times {edit.old!r}" for edit, count in found if count != 1]


@contextmanager
def planted(mutant: Mutant) -> Iterator[Path]:
    """Yield a folder with a copy of the package in which the bug is planted."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "fanfold"
        shutil.copytree(SOURCE, copy, ignore=shutil.ignore_patterns("__pycache__"))
        for edit in mutant.edits:
            path = copy / edit.file
            path.write_text(path.read_text().replace(edit.old, edit.new))
        yield Path(folder)


def find(mutant: Mutant, first: int, seeds: int, timeout_s: float) -> str | None:
    """Run seeds against a planted bug; return the line that reports it, None if none does. A hang is a report."""
    with planted(mutant) as folder:
        command = [sys.executable, "-m", "tests.simulation", "--first", str(first), "--seeds", str(seeds)]
        # A planted bug may leave a coroutine behind; that is not what is looked at.
        environment = os.environ | {"PYTHONPATH": str(folder), "PYTHONWARNINGS": "ignore"}
        try:
            done = subprocess.run(
                command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=timeout_s, check=False
            )
        except subprocess.TimeoutExpired:
            return f"seed {first}...: it hangs"
    said = [line for line in done.stdout.splitlines() if line.startswith("seed ")]
    if done.returncode and not said:
        raise RuntimeError(f"mutant {mutant.number}: {done.stderr}")
    return said[0] if said else None
