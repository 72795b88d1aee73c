"""What is said of a store that cannot be written: once when it begins, seldom while it lasts, once when it is over."""

from __future__ import annotations

import logging

from fanfold.model.clock import Clock
from fanfold.store.database import StoreBusy

SAY_AGAIN_MS = 30_000

log = logging.getLogger("fanfold")


class Trouble:
    """A store that cannot be written. Said when it begins, then every 30 s, and when it is over."""

    def __init__(self, place: str, clock: Clock) -> None:
        self._place = place
        self._clock = clock
        self._since: int | None = None
        self.tries = 0  # how many in a row have failed
        self._said = 0
        self._cause = ""

    def go_on(self, error: StoreBusy) -> None:
        """Say so if nobody was told in the last 30 s."""
        now, self._cause = self._clock.steady_ms(), str(error)
        self.tries += 1
        if self._since is None:
            self._since = self._said = now
            log.warning(
                "the store %s cannot be written: %s. Nothing is lost; it is tried again every 0.5 s, and everything "
                "goes on by itself as soon as that works",
                self._place,
                error,
            )
        elif now - self._said >= SAY_AGAIN_MS:
            self._said = now
            log.warning("the store %s cannot be written, for %s s now: %s", self._place, self._seconds(now), error)

    def end(self) -> None:
        """Say that it is over."""
        if self._since is not None:
            lasted = self._seconds(self._clock.steady_ms())
            log.warning("the store %s can be written again, after %s s: everything goes on", self._place, lasted)
            self._since = None
            self.tries = 0

    def give_up(self, left: int) -> None:
        """Say that nobody waits for it any more."""
        log.error(
            "the store %s cannot be written: %s. It is closed without what was asked for last (commands: %s); "
            "what was recorded stays, and the next start does the rest again",
            self._place,
            self._cause,
            left,
        )

    def _seconds(self, now: int) -> int:
        return round((now - (self._since or now)) / 1000)
