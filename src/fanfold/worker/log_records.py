"""What `logging` says inside runs: each record carries its run, and what a replay says again is dropped.

Both happen where a logger hands a record on. A record factory would do for the first, but it cannot drop a record, and
`logging` refuses an `extra` of a name that the factory has used: `attempt` is everybody's word. Whether a logger is
enabled must not depend on replay, since a workflow's code may ask. Nothing is read or written for code that logs
nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import wraps
from typing import Protocol

OWN = "fanfold"  # the logger of fanfold itself: it speaks about runs, not inside them


class Speaker(Protocol):
    """The run that the calling code belongs to, as far as its records tell."""

    @property
    def id(self) -> int:
        """The run's id."""
        ...

    @property
    def attempt(self) -> int:
        """Which try of the run this is."""
        ...

    @property
    def is_silent(self) -> bool:
        """Tell whether what is logged now was logged before."""
        ...


def install(speaker: Callable[[], Speaker | None]) -> None:
    """Give every record that a logger handles from now on `run_id` and `attempt`: None where `speaker()` is None.

    What the program itself has put there by `extra=` stays.
    """
    handle = logging.Logger.handle

    @wraps(handle)
    def handle_in_run(self: logging.Logger, record: logging.LogRecord) -> None:
        run = None if self.name == OWN else speaker()
        if run is None:
            run_id = attempt = None
        elif run.is_silent:
            return
        else:
            run_id, attempt = run.id, run.attempt
        fields = record.__dict__
        fields.setdefault("run_id", run_id)
        fields.setdefault("attempt", attempt)
        handle(self, record)

    logging.Logger.handle = handle_in_run
