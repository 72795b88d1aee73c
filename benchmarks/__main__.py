"""`python -m benchmarks`: run the rounds, print the table, write the results.

Each round measures the references and the workloads one after the other, every second round in reverse, so that a
machine that slows down or speeds up favours no side.
"""

import argparse
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks import claims, dbos_peer, machine, measurements, process, report


def options_of(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure fanfold against its floors.")
    parser.add_argument("--only", default="", metavar="P1,P3", help="rows to measure; default: all")
    parser.add_argument("--runs", type=int, default=3, help="alternating rounds; the table shows medians")
    parser.add_argument("--quick", action="store_true", help="a tenth of the sizes, one round: does it work at all?")
    parser.add_argument("--dbos-n", type=int, default=dbos_peer.STEPS, help="steps of the DBOS peer (10000: minutes)")
    parser.add_argument(
        "--profile", metavar="P1", choices=sorted(measurements.PROFILED), help="profile one row instead"
    )
    options = parser.parse_args(arguments)
    options.only = [name.strip() for name in options.only.split(",") if name.strip()]
    unknown = [name for name in options.only if not claims.selected([name])]
    if unknown:
        parser.error(
            f"no row named {', '.join(unknown)}; there are {', '.join(sorted({c.row for c in claims.CLAIMS}))}"
        )
    if options.runs < 1:
        parser.error("--runs must be at least 1")
    if options.quick:
        options.runs = 1
    return options


@cache
def peer_interpreter() -> Path | dbos_peer.PeerUnavailable:
    """Return the peer's interpreter, or why there is none; tried once a run."""
    try:
        return dbos_peer.prepare()
    except dbos_peer.PeerUnavailable as unavailable:
        return unavailable


def measure_peer(steps: int) -> dict[str, Any]:
    """Measure DBOS in its own environment."""
    python = peer_interpreter()
    if isinstance(python, dbos_peer.PeerUnavailable):
        raise process.MeasurementFailed(str(python))
    return process.measure([dbos_peer.__file__, "--n", str(steps)], python=python)


def names_needed(chosen: Sequence[claims.Claim]) -> set[str]:
    """Return the measurements that the chosen claims refer to."""
    needed = {claim.measurement for claim in chosen}
    return needed | {claim.reference[0] for claim in chosen if claim.reference}


def one_round(index: int, needed: set[str], options: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Measure everything needed once, in reverse in every second round; a failure is a figure too."""
    order = [m for m in (*measurements.REFERENCES, *measurements.WORKLOADS) if m.name in needed]
    names: list[measurements.Measurement | None] = [*order, *([None] if measurements.PEER in needed else [])]
    figures: dict[str, dict[str, Any]] = {}
    for measurement in reversed(names) if index % 2 else names:
        name = measurement.name if measurement else measurements.PEER
        print(f"round {index + 1}: {name}", file=sys.stderr, flush=True)
        before = machine.load()
        try:
            if measurement:
                result = process.measure(measurement.command(quick=options.quick))
            else:
                result = measure_peer(options.dbos_n)
        except process.MeasurementFailed as failure:
            result = {"failed": str(failure)}
        figures[name] = {**result, "load_before": before}
    return figures


def run(options: argparse.Namespace) -> int:
    """Measure, print and save; return 1 when something could not be measured, which a missing peer is not."""
    chosen = claims.selected(options.only)
    needed = names_needed(chosen)
    facts = machine.facts()
    result: dict[str, Any] = {
        "commit": machine.commit(),
        "settings": {"runs": options.runs, "quick": options.quick, "only": options.only, "dbos_n": options.dbos_n},
        "versions": machine.versions(),
        "machine": facts,
        "load_at_start": machine.load(),
    }
    rounds = [one_round(index, needed, options) for index in range(options.runs)]
    result |= {"load_at_end": machine.load(), "rounds": rounds}
    verdicts = [claims.judge(claim, rounds) for claim in chosen]
    print(report.table(verdicts))
    print(f"\nmedians of {options.runs} alternating rounds; F floor, C commit, h the half that was left after the kill")
    print(report.side_figures(rounds))
    if facts["file_system"] == "tmpfs":
        print("the temporary directory is in memory: commits cost nothing here; set TMPDIR to a disk")
    if options.quick:
        print("--quick: too small for a verdict that counts")
    print(f"\n{report.save(result, verdicts).relative_to(process.ROOT)}")
    failed = {name for one in rounds for name, figures in one.items() if "failed" in figures}
    return 1 if failed - {measurements.PEER} else 0


def profile(row: str, *, quick: bool) -> int:
    """Run the workload behind a row under the profiler; the table of functions goes to standard error."""
    command = [*measurements.PROFILED[row].command(quick=quick), "--profile"]
    try:
        print(process.measure(command, show_errors=True))
    except process.MeasurementFailed as failure:
        print(failure, file=sys.stderr)
        return 1
    return 0


def main() -> None:
    """Entry point of `python -m benchmarks`."""
    options = options_of(sys.argv[1:])
    sys.exit(profile(options.profile, quick=options.quick) if options.profile else run(options))


if __name__ == "__main__":
    main()
