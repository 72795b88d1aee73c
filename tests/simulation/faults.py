"""What goes wrong in one run of the simulation, all of it decided by the seed."""

from random import Random

DATABASE = (
    "cannot begin",
    "disk full",
    "transaction gone",
    "statement refused",
    "not committed, unknown",
    "committed, unknown",
    "not committed, unknown, and reopen fails",
    "committed, unknown, and reopen fails",
    "not committed, unknown, and look-up fails",
    "committed, unknown, and look-up fails",
)
NEED_COMPANY = ("transaction gone", "statement refused")  # alone, such a command fails its run for good
LOST_REPORT = "a claim or an eviction is not reported"
CRASHES = ("crash before the commit", "crash after the commit", "crash before the report")


class Plan:
    """Settings and faults of one seed."""

    def __init__(self, seed: int) -> None:
        rng = Random(f"plan {seed}")
        self.rng = Random(f"faults {seed}")
        self.settings = {
            "IDLE_MS": rng.choice((1, 10, 60, 5_000)),
            "MOST_IN_MEMORY": rng.choice((0, 2, 100_000, 100_000)),
            "MOST_WORKFLOWS": rng.choice((1, 2, 10_000, 10_000)),
            "LOOK_AHEAD": rng.choice((0, 9_000)),
            "PAGE": rng.choice((1, 3, 1_000)),
            "MAX_ROWS": rng.choice((1, 3, 4_000, 4_000)),
            "MAX_BYTES": rng.choice((60, 8 << 20, 8 << 20)),
            "CHUNK": rng.choice((1, 1_000)),
            "EVERY_MS": rng.choice((50, 500, 30_000)),
            "WINDOW": rng.choice((1, 2, 3, 10_000)),
            "BODIES_A_TURN": rng.choice((1, 200)),
            "SUSPECT": rng.choice((1, 2, 1_000_000)),
            "MOST_CRASHES": 1_000_000,  # crashes here come from outside: no body is to blame
        }
        self.slots = rng.choice((1, 2, 3, 1_000, 1_000))
        self.slowest_commit_s = rng.choice((0.001, 0.01, 0.05))
        self.slowest_read_s = rng.choice((0, 0, 0.002, 0.05))
        self.slow_bodies = rng.choice((0, 0, 0.3))
        self.size = rng.choice((3, 6, 10))
        self.roots = rng.choice((1, 1, 1, 2))
        self.left = rng.choice((0, 1, 2, 4, 8))  # faults that are still to come
        self.every = rng.choice((0.05, 0.2, 0.6))  # how probable one is at a commit
        self.kinds = rng.choice(
            (CRASHES, DATABASE, DATABASE + CRASHES, (*DATABASE, *CRASHES, *CRASHES, LOST_REPORT, LOST_REPORT))
        )
        self.zombies = rng.random() < 0.5
        self.cancel_root_at = [rng.choice((0.0, 0.005, 0.05, 0.3, 1.5))] if rng.random() < 0.2 else []
        self.cancel_inner_at = rng.choice((0.01, 0.1, 0.5)) if rng.random() < 0.1 else None
        self.stop_at = rng.choice((0.01, 0.1, 0.6)) if rng.random() < 0.2 else None
        self.grace_s = rng.choice((0.0, 0.05, 5.0))
        self.jumps = sorted(
            (rng.choice((0.0, 0.02, 0.2, 1.0, 3.0)), rng.randint(-25_000, 25_000))
            for _ in range(rng.choice((0, 0, 1, 3)))
        )
        if self.cancel_root_at and rng.random() < 0.5:  # the second request is for what compensates
            self.cancel_root_at.append(self.cancel_root_at[0] + rng.choice((0.005, 0.05, 0.5)))
        self.settings["AT_ONCE"] = rng.choice((1, 2, 1_000))
        self.checkpoint_ms = rng.choice((0, 0, 3, 30, 250))  # between two of a fold

    def fault(self, commands: int) -> str | None:
        """Decide what goes wrong with the next commit."""
        if not self.left or self.rng.random() > self.every:
            return None
        fault = self.rng.choice(self.kinds)
        if fault in NEED_COMPANY and commands < 2:
            return None
        self.left -= 1
        return fault

    def commit_s(self) -> float:
        """Return how long the next commit takes."""
        return 0.0005 + self.rng.random() * self.slowest_commit_s

    def read_s(self) -> float:
        """Return how long the answer of a read is under way; 0 mostly."""
        return self.rng.random() * self.slowest_read_s if self.slowest_read_s else 0.0

    def report_s(self) -> float:
        """Return how long the loop does not come to the report of a commit; 0 nearly always."""
        return self.rng.random() * 0.02 if self.rng.random() < 0.1 else 0.0
