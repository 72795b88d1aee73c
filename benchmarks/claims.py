"""What the figures must show: each claim relates one figure to a reference measured in the same round.

A claim's ratio is the median over the rounds of that round's own ratio, so that a slow spell hits both sides.
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Round = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Claim:
    """A bound on figure / reference; without a reference the bound is on the figure itself.

    `must` and `aim` are (bound, how the table writes it); `at_most` says that less is better; `is_exact` that the
    figure must be the bound itself in every round, not in the median.
    """

    row: str
    title: str
    measurement: str
    figure: str
    unit: str
    reference: tuple[str, str] | None
    must: tuple[float, str]
    aim: tuple[float, str] | None = None
    at_most: bool = False
    is_exact: bool = False

    def holds(self, ratio: float, bound: float) -> bool:
        """Tell whether the ratio is on the right side of the bound."""
        if self.is_exact:
            return ratio == bound
        return ratio <= bound if self.at_most else ratio >= bound


@dataclass(frozen=True, slots=True)
class Verdict:
    """A claim after the rounds: medians of the figure, the reference and the ratio, and what follows from them."""

    claim: Claim
    figure: float | None
    reference: float | None
    ratio: float | None
    text: str


FLOOR = ("floor", "per_s")
RATE_OF_C = ("commit", "per_s")
LATENCY_OF_C = ("commit", "p50_ms")
PEER_RATE = ("dbos", "per_s")
THREAD_POOL = ("threads pool", "per_s")
PROCESS_POOL = ("processes pool", "per_s")
CPU_POOL = ("cpu", "pool_per_s")
ALLOWED = ("kill", "allowed_s")
FOLD_RATE = ("fold", "per_s")
FOLD_ALLOWED = ("fold kill", "allowed_s")
ASYNCIO_IMPORT = ("startup", "asyncio_import_ms")
ASYNCIO_PROCESS = ("startup", "asyncio_process_ms")

CLAIMS = (
    Claim("P1", "gather of 100,000", "gather", "per_s", "children/s", FLOOR, (1 / 6, "F/6"), (1 / 4, "F/4")),
    Claim("P1", "the same, against DBOS", "gather", "per_s", "children/s", PEER_RATE, (100, "100x")),
    Claim("P1-map", "map of 100,000", "map", "per_s", "children/s", FLOOR, (1 / 6, "F/6"), (1 / 4, "F/4")),
    Claim(
        "P2", "map.fold of 1,000,000", "fold million", "per_s", "children/s", FOLD_RATE, (0.8, "0.8"), (0.95, "0.95")
    ),
    Claim(
        "P2", "its memory grows by", "fold million", "rss_growth_mib", "MiB", None, (64, "64"), (48, "48"), at_most=True
    ),
    Claim(
        "P2", "stored beside payload", "fold million", "overhead_per_child", "B/child", None, (200, "200"), at_most=True
    ),
    Claim(
        "P2-failing",
        "1 % fail: memory",
        "fold failing",
        "rss_growth_mib",
        "MiB",
        None,
        (64, "64"),
        (48, "48"),
        at_most=True,
    ),
    Claim(
        "P2-kill", "restart: whole run", "fold kill", "restart_s", "s", FOLD_ALLOWED, (1, "1.3 h + 3 s"), at_most=True
    ),
    Claim("P2-kill", "restart: memory", "fold kill", "restart_rss_growth_mib", "MiB", None, (64, "64"), at_most=True),
    Claim("P2-kill", "restart: bodies run twice", "fold kill", "repeated", "", None, (0, "0"), is_exact=True),
    Claim("P3", "chain of 2,000", "chain", "per_s", "steps/s", RATE_OF_C, (0.25, "C/4"), (0.4, "0.4 C")),
    Claim("P4", "start to result, p50", "one task", "p50_ms", "ms", LATENCY_OF_C, (4, "4 C"), (3, "3 C"), at_most=True),
    Claim("P5", "10,000 workflows", "workflows", "per_s", "workflows/s", FLOOR, (1 / 60, "F/60"), (1 / 30, "F/30")),
    Claim("P6-threads", "20,000 in threads", "threads", "per_s", "bodies/s", THREAD_POOL, (0.4, "0.4"), (0.6, "0.6")),
    Claim(
        "P6-processes",
        "20,000 in processes",
        "processes",
        "per_s",
        "bodies/s",
        PROCESS_POOL,
        (0.3, "0.3"),
        (0.6, "0.6"),
    ),
    Claim("P6-cpu", "50 ms of CPU each", "cpu", "per_s", "bodies/s", CPU_POOL, (0.8, "0.8"), (0.95, "0.95")),
    Claim("P7", "restart: first body", "kill", "first_body_s", "s", None, (2, "2 s"), (1, "1 s"), at_most=True),
    Claim("P7", "restart: whole run", "kill", "restart_s", "s", ALLOWED, (1, "1.3 h + 3 s"), at_most=True),
    Claim("P7", "restart: bodies run twice", "kill", "repeated", "", None, (0, "0"), is_exact=True),
    Claim("P9-start", "import fanfold", "startup", "import_ms", "ms", ASYNCIO_IMPORT, (3, "3x"), at_most=True),
    Claim("P9-start", "fanfold --help", "startup", "help_process_ms", "ms", ASYNCIO_PROCESS, (6, "6x"), at_most=True),
    Claim("P9-start", "unwanted imports", "startup", "unwanted", "", None, (0, "0"), is_exact=True),
    Claim("P9-idle", "idle engine", "idle", "cpu_percent", "% of a core", None, (1, "1 %"), at_most=True),
)


def selected(only: Sequence[str]) -> list[Claim]:
    """Return the claims whose row is named; P1 names P1-map too, P2 all of its rows; nothing is everything."""
    return [
        claim
        for claim in CLAIMS
        if not only or any(claim.row == name or claim.row.startswith(f"{name}-") for name in only)
    ]


def judge(claim: Claim, rounds: Sequence[Round]) -> Verdict:
    """Take the medians over the rounds in which both sides were measured and compare them with the bounds."""
    figures = [_value(one, (claim.measurement, claim.figure)) for one in rounds]
    references = [_value(one, claim.reference) if claim.reference else 1.0 for one in rounds]
    pairs = [(a, b) for a, b in zip(figures, references, strict=True) if a is not None and b]
    figure = _median([a for a in figures if a is not None])
    reference = _median([b for b in references if b]) if claim.reference else None
    if not pairs:
        return Verdict(claim, figure, reference, None, "not measured")
    ratio = statistics.median(a / b for a, b in pairs)
    if claim.is_exact:
        figure = ratio = max((a for a, _ in pairs), key=lambda value: abs(value - claim.must[0]))
    if not claim.holds(ratio, claim.must[0]):
        text = "not reached"
    elif claim.aim and claim.holds(ratio, claim.aim[0]):
        text = "reached, aim too"
    else:
        text = "reached"
    return Verdict(claim, figure, reference, ratio, text)


def _value(one: Round, source: tuple[str, str]) -> float | None:
    """Return one figure of a round, or None where it was not measured."""
    value = one.get(source[0], {}).get(source[1])
    return None if value is None else float(value)


def _median(values: Sequence[float]) -> float | None:
    """Return the median, or None of nothing."""
    return statistics.median(values) if values else None
