"""Measuring processes: started one at a time with a store of their own, read by their last JSON line."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.stores import VARIABLE

ROOT = Path(__file__).resolve().parent.parent
TIMEOUT_S = 900


class MeasurementFailed(Exception):
    """A measuring process gave no figures; the message is the last line it wrote."""


def last_json(status: int, output: str, complaints: str) -> dict[str, Any]:
    """Return the last line of `output` that is a JSON object; raises MeasurementFailed when there is none."""
    if status == 0:
        for line in reversed(output.splitlines()):
            if line.startswith("{"):
                return dict(json.loads(line))
    lines = complaints.strip().splitlines() or output.strip().splitlines() or [f"exit status {status}, no output"]
    raise MeasurementFailed(lines[-1].strip().replace(f"{ROOT}/", ""))


def measure(arguments: Sequence[str], *, python: Path | None = None, show_errors: bool = False) -> dict[str, Any]:
    """Run `python <arguments>` from the root of the tree on a fresh store and return its figures.

    `show_errors` leaves standard error to the terminal: a profile is printed there. Raises MeasurementFailed when the
    process fails, prints no figures or takes longer than 15 minutes.
    """
    with tempfile.TemporaryDirectory(prefix="benchmark-") as directory:
        try:
            done = subprocess.run(
                [str(python or sys.executable), *arguments],
                cwd=ROOT,
                env={**os.environ, VARIABLE: str(Path(directory) / "store.db")},
                stdout=subprocess.PIPE,
                stderr=None if show_errors else subprocess.PIPE,
                text=True,
                timeout=TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise MeasurementFailed(f"no result after {TIMEOUT_S} s") from error
    return last_json(done.returncode, done.stdout, done.stderr or "")
