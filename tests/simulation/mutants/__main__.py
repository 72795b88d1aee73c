"""`python -m tests.simulation.mutants` looks for the seed that finds each planted bug; with numbers, for those.

`--rehunt` keeps the seeds that still do, looks for the others, and writes them all to `seeds.py`.
"""

import argparse
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.simulation.mutants.all_planted import MUTANTS
from tests.simulation.mutants.mutant import Mutant
from tests.simulation.mutants.planting import find, misfits
from tests.simulation.mutants.seeds import SEEDS

MOST_SEEDS = 20_000
TIMEOUT_S = 900.0
ONE_TIMEOUT_S = 30.0  # half of what the test gives its one seed
PROCESSES = 3
SEED = re.compile(r"seed (\d+):")
WRITTEN = Path(__file__).with_name("seeds.py")


def hunt(mutant: Mutant, seeds: int, *, keeps: bool) -> tuple[Mutant, str | None]:
    """Search from seed 1 on; `keeps`: the known seed first."""
    problem = "; ".join(misfits(mutant))
    if problem:
        return mutant, problem
    if keeps and mutant.seed and (report := _confirmed(mutant, mutant.seed)):
        return mutant, report
    first = 1
    while first <= seeds:
        report = find(mutant, first, seeds - first + 1, TIMEOUT_S)
        seed = SEED.match(report or "")
        if seed is None or _confirmed(mutant, int(seed[1])):
            return mutant, report
        first = int(seed[1]) + 1
    return mutant, None


def _confirmed(mutant: Mutant, seed: int) -> str | None:
    """Return what a seed reports if it does so in every process: some bugs depend on where objects lie."""
    reports = [find(mutant, seed, 1, ONE_TIMEOUT_S) for _ in range(PROCESSES)]
    return reports[0] if all(reports) else None


def write(found: dict[int, int]) -> None:
    """Write the seeds of all planted bugs; those that were not looked for keep theirs."""
    head = WRITTEN.read_text().partition("SEEDS")[0]
    seeds = SEEDS | found
    lines = [f"    {mutant.number}: {seeds[mutant.number]},\n" for mutant in MUTANTS if mutant.number in seeds]
    WRITTEN.write_text(f"{head}SEEDS: dict[int, int] = {{\n{''.join(lines)}}}\n")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.mutants", description=__doc__)
    parser.add_argument("numbers", type=int, nargs="*", help="which planted bugs; none means all")
    parser.add_argument("--seeds", type=int, default=MOST_SEEDS, help="how many seeds to try for each")
    parser.add_argument("--at-once", type=int, default=2, help="how many processes")
    parser.add_argument("--rehunt", action="store_true", help="write the seeds to seeds.py")
    chosen = parser.parse_args()
    wanted = [mutant for mutant in MUTANTS if not chosen.numbers or mutant.number in chosen.numbers]
    found: dict[int, int] = {}
    with ThreadPoolExecutor(chosen.at_once) as pool:
        for mutant, report in pool.map(lambda mutant: hunt(mutant, chosen.seeds, keeps=chosen.rehunt), wanted):
            seed = SEED.match(report or "")
            if seed is not None:
                found[mutant.number] = int(seed[1])
            known = "" if seed is not None and int(seed[1]) == mutant.seed else f" (seeds.py says {mutant.seed})"
            print(f"{mutant.number:3} {mutant.name}: {(report or 'NOT FOUND')[:160]}{known}", flush=True)
    if chosen.rehunt:
        write(found)
    print(f"{len(found)} of {len(wanted)} found within {chosen.seeds} seeds")
    return int(len(found) < len(wanted))


if __name__ == "__main__":
    sys.exit(main())
