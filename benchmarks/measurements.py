"""What is measured: the references first, then the workloads; each a command line with its size."""

from dataclasses import dataclass

QUICK_SHARE = 10


@dataclass(frozen=True, slots=True)
class Measurement:
    """One process of a round: a name that claims refer to, a module, its size, and what else it is told."""

    name: str
    module: str
    size: int
    arguments: tuple[str, ...] = ()

    def command(self, *, quick: bool) -> list[str]:
        """Return the interpreter's arguments; `quick` takes a tenth of the size."""
        size = max(1, self.size // QUICK_SHARE) if quick else self.size
        return ["-m", self.module, "--n", str(size), *self.arguments]


REFERENCES = (
    Measurement("floor", "benchmarks.floor", 100_000),
    Measurement("commit", "benchmarks.commit", 2_000),
)

# DBOS runs in an environment of its own, and its size is an option of the harness.
PEER = "dbos"

WORKLOADS = (
    Measurement("gather", "benchmarks.workloads.fan_out", 100_000),
    Measurement("map", "benchmarks.workloads.fan_out", 100_000, ("--shape", "map")),
    Measurement("chain", "benchmarks.workloads.chain", 2_000),
    Measurement("one task", "benchmarks.workloads.one_task", 300),
    Measurement("workflows", "benchmarks.workloads.many_workflows", 10_000),
    Measurement("kill", "benchmarks.workloads.kill_restart", 100_000),
)

# What `--profile` runs under the profiler, by the claim that it explains.
PROFILED = {
    "P1": WORKLOADS[0],
    "P1-map": WORKLOADS[1],
    "P3": WORKLOADS[2],
    "P4": WORKLOADS[3],
    "P5": WORKLOADS[4],
    "P7": Measurement("counted", "benchmarks.workloads.counted_fan_out", 100_000),
}
