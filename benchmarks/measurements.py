"""What is measured: the references first, then the workloads; each a command line with its size.

The pools that only P6 is measured against stand right before it, so that the same spell hits both.
"""

from dataclasses import dataclass

from benchmarks.bodies import SIZES

QUICK_SHARE = 10
FOLD = "benchmarks.workloads.map_fold"


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
    *(
        Measurement(name, module, size, ("--place", place))
        for place, size in SIZES.items()
        for name, module in ((f"{place} pool", "benchmarks.pools"), (place, "benchmarks.workloads.executors"))
    ),
    Measurement("cpu", "benchmarks.workloads.spinning", 144),
    Measurement("kill", "benchmarks.workloads.kill_restart", 100_000),
    Measurement("fold", FOLD, 100_000),
    Measurement("fold million", FOLD, 1_000_000),
    Measurement("fold failing", FOLD, 1_000_000, ("--failing", "1")),
    Measurement("fold kill", "benchmarks.workloads.kill_restart", 1_000_000, ("--program", FOLD)),
    Measurement("startup", "benchmarks.startup", 30),
    Measurement("idle", "benchmarks.workloads.idle", 6),
)

_NAMED = {workload.name: workload for workload in WORKLOADS}

# What `--profile` runs under the profiler, by the claim that it explains.
PROFILED = {
    "P1": _NAMED["gather"],
    "P1-map": _NAMED["map"],
    "P2": _NAMED["fold"],
    "P3": _NAMED["chain"],
    "P4": _NAMED["one task"],
    "P5": _NAMED["workflows"],
    "P6-threads": _NAMED["threads"],
    "P6-processes": _NAMED["processes"],
    "P6-cpu": _NAMED["cpu"],
    "P7": Measurement("counted", "benchmarks.workloads.counted_fan_out", 100_000),
    "P9-start": _NAMED["startup"],
    "P9-idle": _NAMED["idle"],
}
