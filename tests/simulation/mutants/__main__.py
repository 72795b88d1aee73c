"""`python -m tests.simulation.mutants` looks for the seed that finds each planted bug; with numbers, for those."""

import argparse
import re
import sys
from concurrent.futures import ThreadPoolExecutor

from tests.simulation.mutants.catalogue import MUTANTS, Mutant
from tests.simulation.mutants.planting import find, misfits

MOST_SEEDS = 20_000
TIMEOUT_S = 900.0


def hunt(mutant: Mutant, seeds: int) -> tuple[Mutant, str | None]:
    """Search from seed 1 on."""
    return mutant, "; ".join(misfits(mutant)) or find(mutant, 1, seeds, TIMEOUT_S)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.mutants", description=__doc__)
    parser.add_argument("numbers", type=int, nargs="*", help="which planted bugs; none means all")
    parser.add_argument("--seeds", type=int, default=MOST_SEEDS, help="how many seeds to try for each")
    parser.add_argument("--at-once", type=int, default=2, help="how many processes")
    chosen = parser.parse_args()
    wanted = [mutant for mutant in MUTANTS if not chosen.numbers or mutant.number in chosen.numbers]
    missed = 0
    with ThreadPoolExecutor(chosen.at_once) as pool:
        for mutant, report in pool.map(lambda mutant: hunt(mutant, chosen.seeds), wanted):
            seed = re.match(r"seed (\d+)", report or "")
            missed += seed is None
            known = "" if seed is not None and int(seed[1]) == mutant.seed else f" (the catalogue says {mutant.seed})"
            print(f"{mutant.number:3} {mutant.name}: {(report or 'NOT FOUND')[:160]}{known}", flush=True)
    print(f"{len(wanted) - missed} of {len(wanted)} found within {chosen.seeds} seeds")
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
