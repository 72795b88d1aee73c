"""The table that a person reads and the JSON file that a later run is compared with."""

import datetime as dt
import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.claims import Round, Verdict

RESULTS = Path(__file__).parent / "results"
HEADINGS = ("", "workload", "figure", "reference", "ratio", "must", "aim", "verdict")
REFERENCE_NAMES = {
    "floor": "F",
    "commit": "C",
    "dbos": "DBOS",
    "threads pool": "run_in_executor",
    "processes pool": "submit",
    "cpu": "submit",
    "kill": "allowed",
    "fold": "at 100,000",
    "fold kill": "allowed",
    "startup": "import asyncio",
}
SIDE_FIGURES = (
    "per_s",
    "bytes_per_child",
    "payload_per_child",
    "bytes_per_workflow",
    "default_per_s",
    "import_process_ms",
    "peak_rss_mib",
    "rss_growth_mib",
    "rss_second_half_mib",
    "restart_peak_rss_mib",
    "cpu_s",
    "wall_s",
)


def number(value: float) -> str:
    """Write a number with about three digits and thousands separated."""
    if abs(value) >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.3g}"


def table(verdicts: Sequence[Verdict]) -> str:
    """Lay the verdicts out in columns."""
    rows = [HEADINGS, *(_cells(verdict) for verdict in verdicts)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


def _cells(verdict: Verdict) -> tuple[str, ...]:
    """Return one row of the table as text."""
    claim = verdict.claim
    figure = "-" if verdict.figure is None else f"{number(verdict.figure)} {claim.unit}".strip()
    reference = ""
    if claim.reference:
        name = REFERENCE_NAMES[claim.reference[0]]
        reference = f"{name} -" if verdict.reference is None else f"{name} {number(verdict.reference)}"
    ratio = "" if not claim.reference else "not measured" if verdict.ratio is None else number(verdict.ratio)
    sign = "=" if claim.is_exact else "<=" if claim.at_most else ">="
    aim = f"{sign} {claim.aim[1]}" if claim.aim else ""
    return (claim.row, claim.title, figure, reference, ratio, f"{sign} {claim.must[1]}", aim, verdict.text)


def side_figures(rounds: Sequence[Round]) -> str:
    """List, for each measurement, the medians of what has no bound: bytes in the store, peak memory, CPU and wall."""
    lines: list[str] = []
    for name in dict.fromkeys(name for one in rounds for name in one):
        parts: list[str] = []
        for side in SIDE_FIGURES:
            values = [float(one[name][side]) for one in rounds if one.get(name, {}).get(side) is not None]
            if values:
                parts.append(f"{side} {number(statistics.median(values))}")
        failures = {str(one[name]["failed"]) for one in rounds if one.get(name, {}).get("failed")}
        parts += [f"FAILED: {failure}" for failure in sorted(failures)]
        lines.append(f"  {name:14} {'  '.join(parts)}")
    return "\n".join(lines)


def save(run: dict[str, Any], verdicts: Sequence[Verdict]) -> Path:
    """Write the run with all its rounds to results/<date>-<commit>.json and return the file; the date is UTC."""
    date = dt.datetime.now(dt.UTC).strftime("%Y-%m-%d")
    quick = "-quick" if run["settings"]["quick"] else ""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{date}-{run['commit']}{quick}.json"
    rows = [
        {
            "row": verdict.claim.row,
            "title": verdict.claim.title,
            "unit": verdict.claim.unit,
            "figure": verdict.figure,
            "reference": verdict.reference,
            "ratio": verdict.ratio,
            "must": verdict.claim.must[1],
            "aim": verdict.claim.aim[1] if verdict.claim.aim else None,
            "verdict": verdict.text,
        }
        for verdict in verdicts
    ]
    path.write_text(json.dumps({**run, "rows": rows}, indent=1) + "\n")
    return path
