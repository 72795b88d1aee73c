"""Durable sleep."""

from __future__ import annotations

from datetime import timedelta

from fanfold.model.duration import seconds
from fanfold.worker.context import current
from fanfold.worker.handle import Handle


def sleep(delay: float | timedelta) -> Handle[None]:
    """Start a durable timer in a workflow; await the handle it returns. `delay` is seconds or a timedelta.

    It never fires early, survives restarts, and costs nothing while it waits. NotAllowed in tasks.
    """
    return current().sleep(seconds(delay, "delay"))
