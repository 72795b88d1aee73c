"""Reads that a run waits for: one that fails is tried again, or the run would stand still until the next start."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

from fanfold.errors import FanfoldError
from fanfold.model.clock import Clock

T = TypeVar("T")
RETRY_MS = 500

log = logging.getLogger("fanfold")


async def read_for(clock: Clock, run_id: int, question: Callable[[], Awaitable[T]]) -> T:
    """Return the answer for a run, asked again every half second while the store cannot be read."""
    while True:
        try:
            return await question()
        except FanfoldError as error:
            log.warning("run %s: its record cannot be read now: %s", run_id, error)
            later: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            clock.call_at(clock.now_ms() + RETRY_MS, partial(_ring, later))
            await later


def _ring(later: asyncio.Future[None]) -> None:
    if not later.done():
        later.set_result(None)
