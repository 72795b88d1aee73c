"""Resident memory over time: a thread looks at this process while it works.

The high-water mark of the kernel includes what was there before the work; growth is what a bound can be set on.
"""

import threading
import time
from types import TracebackType
from typing import Self

import psutil

LOOK_EVERY_S = 0.05
MOST_POINTS = 100
MIB = 1 << 20


class Memory:
    """Samples of this process's resident memory, taken until the end of the `with` block; from /proc on Linux."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._started = time.perf_counter()
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._look, name="memory", daemon=True)
        self.before_mib = self._now_mib()
        self.samples: list[tuple[float, float]] = [(0.0, self.before_mib)]

    def __enter__(self) -> Self:
        """Begin."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take the last sample."""
        self._is_over.set()
        self._thread.join()
        self._take()

    def _now_mib(self) -> float:
        return self._process.memory_info().rss / MIB

    def _take(self) -> None:
        self.samples.append((time.perf_counter() - self._started, self._now_mib()))

    def _look(self) -> None:
        while not self._is_over.wait(LOOK_EVERY_S):
            self._take()

    @property
    def growth_mib(self) -> float:
        """How much more there ever was than before, in MiB."""
        return max(mib for _, mib in self.samples) - self.before_mib

    @property
    def growth_in_second_half_mib(self) -> float:
        """How much higher the second half of the time went than the first, in MiB; what does not grow has none."""
        middle_s = self.samples[-1][0] / 2
        first, second = (
            max((mib for at_s, mib in self.samples if (at_s > middle_s) is is_second), default=self.before_mib)
            for is_second in (False, True)
        )
        return max(second - first, 0.0)

    @property
    def curve(self) -> list[list[float]]:
        """At most 100 points of (seconds, MiB), each the highest of its stretch, for the file of results."""
        stretch = -(-len(self.samples) // MOST_POINTS)
        stretches = [self.samples[first : first + stretch] for first in range(0, len(self.samples), stretch)]
        return [[round(points[0][0], 2), round(max(mib for _, mib in points), 1)] for points in stretches]
