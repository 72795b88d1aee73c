"""The tasks and futures of a durable loop: asyncio's own, but that they know their place, and hash by it."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Coroutine
from typing import Any

from fanfold.worker.places import Place


class DurableTask(asyncio.Task[Any]):
    """An asyncio task with a place."""

    _log_destroy_pending: bool  # asyncio's own; typeshed does not know it

    def __init__(
        self, coroutine: Coroutine[Any, Any, Any], loop: asyncio.AbstractEventLoop, name: str, place: Place,
        number: int, context: contextvars.Context,
    ) -> None:  # fmt: skip
        self.place = place
        self.context = context
        self._hash = number
        super().__init__(coroutine, loop=loop, name=name, context=context)

    def keep_quiet(self) -> None:
        """Log nothing when it is collected before it has ended."""
        self._log_destroy_pending = False

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return self is other


class DurableFuture(asyncio.Future[Any]):
    """What `loop.create_future` returns: a future that hashes by where it was made."""

    def __init__(self, loop: asyncio.AbstractEventLoop, number: int) -> None:
        self._hash = number
        super().__init__(loop=loop)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return self is other
