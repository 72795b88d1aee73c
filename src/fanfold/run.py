"""A run seen from outside: its result, its status."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any, Generic, TypeVar

from fanfold.engine.engine import Ended, Engine
from fanfold.errors import NonDeterminism
from fanfold.model import lifecycle
from fanfold.model.run import RunStatus
from fanfold.worker.failures import child_error
from fanfold.worker.task import Task, seconds

R = TypeVar("R")


class Run(Generic[R]):
    """A durable run, from `app.start`. `id` finds it again in any process."""

    def __init__(self, engine: Engine, task: Task[..., R], id: int) -> None:
        self._engine = engine
        self._task = task
        self.id = id

    async def result(self, timeout: float | timedelta | None = None) -> R:
        """Wait for the run to end and return its result.

        Raises TaskFailed, TaskTimedOut or TaskCancelled as it ended, NonDeterminism if it stands still because its
        code no longer fits its record, TimeoutError after `timeout` (seconds or timedelta); the run goes on then.
        """
        limit = None if timeout is None else seconds(timeout, "timeout")
        async with asyncio.timeout(limit):
            ended = await self._engine.wait(self.id)
        return self._value(ended)

    def _value(self, ended: Ended) -> Any:
        if ended.state == lifecycle.COMPLETED:
            return self._task.signature.result.decode(ended.output or "null")
        if ended.state == lifecycle.PAUSED:
            raise NonDeterminism(f"run {self.id}: {ended.error}")
        raise child_error(self._task.name, self.id, ended.state, ended.error)

    async def status(self) -> RunStatus:
        """Return how the run stands now."""
        return await self._engine.queries.status(self.id)

    def __repr__(self) -> str:
        return f"<Run {self.id} of {self._task.name}>"
