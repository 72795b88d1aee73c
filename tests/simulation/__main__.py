"""`python -m tests.simulation --seeds 2000` runs many seeds, `--seed 7` one, with a readable trace."""

import argparse
import hashlib
import sys
import time
import traceback

from tests.simulation.simulation import Simulation


def run(seed: int) -> Simulation:
    """Run one seed; a crash of the simulation itself counts as a violation."""
    simulation = Simulation(seed)
    try:
        simulation.run()
    except Exception as error:
        simulation.note("ERROR", traceback.format_exc())
        simulation.violations.append(f"{type(error).__name__}: {error}")
    return simulation


def trace_hash(simulation: Simulation) -> str:
    """Return a hash of all that happened."""
    return hashlib.blake2b(repr(simulation.trace).encode(), digest_size=8).hexdigest()


def show(seed: int) -> int:
    """Replay one seed with its trace."""
    simulation = run(seed)
    for root, code in enumerate(simulation.programs):
        print(f"root {root}: {code}")
    print(f"settings: {vars(simulation.plan)}")
    for when, sequence, what, *details in simulation.trace:
        print(f"{when:10.4f} s  #{sequence:<4} {what:9} {' '.join(map(str, details))}")
    for violation in simulation.violations:
        print(f"seed {seed}: {violation}")
    print(f"trace {trace_hash(simulation)}, {simulation.lives} lives, {simulation.history.sequence} commits")
    return bool(simulation.violations)


def run_many(first: int, seeds: int, most_failures: int) -> int:
    """Run seeds one after the other; stop at the first that fails, or at the given number."""
    began = time.monotonic()
    failures = commits = lives = 0
    hashes = hashlib.blake2b(digest_size=8)
    for done, seed in enumerate(range(first, first + seeds), 1):
        simulation = run(seed)
        commits += simulation.history.sequence
        lives += simulation.lives
        hashes.update(trace_hash(simulation).encode())
        if simulation.violations:
            failures += 1
            print(f"seed {seed}: {simulation.violations[0][:300]}", flush=True)
            if failures >= most_failures:
                print(f"replay it with: make simulate SEED={seed}")
                return 1
        if done % 500 == 0 or done == seeds:
            rate = done / (time.monotonic() - began) * 60
            print(f"{done} seeds, {commits} commits, {lives} lives, {rate:,.0f} seeds a minute", flush=True)
    print(f"traces {hashes.hexdigest()}")
    return int(failures > 0)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=2000, help="how many seeds to run")
    parser.add_argument("--first", type=int, default=1, help="the first of them")
    parser.add_argument("--seed", type=int, help="replay one seed with its trace")
    parser.add_argument("--failures", type=int, default=1, help="stop after so many seeds that fail")
    chosen = parser.parse_args()
    if chosen.seed is not None:
        return show(chosen.seed)
    return run_many(chosen.first, chosen.seeds, chosen.failures)


if __name__ == "__main__":
    sys.exit(main())
