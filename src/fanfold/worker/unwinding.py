"""How the frames of a loop that is dropped come to their end.

Evicted is thrown in where each waits, so that its `finally` blocks run, in order and with the run's context; what they
ask for is refused, and what they raise is nobody's business any more. Closing them would not do: that does not reach
into an async generator which itself awaits. A frame that catches all of it, again and again, is left where it stands.
"""

from __future__ import annotations

import contextvars
from collections.abc import Callable
from typing import Any

from fanfold.errors import Evicted

MOST_THROWS = 100  # into one frame
MOST_MORE = 10_000  # throws beyond the first into each frame, for all frames of a loop


class Unwinding:
    """The end of one loop's frames."""

    def __init__(self, on_throw: Callable[[], None]) -> None:
        """`on_throw` is called before each throw."""
        self._on_throw = on_throw
        self._left = MOST_MORE

    def end(self, coroutine: Any, context: contextvars.Context) -> bool:
        """End a coroutine, or what else is stepped like one; return False for one that goes on and on."""
        step: Callable[[], Any] = lambda: coroutine.throw(Evicted())  # noqa: E731 - twice the same
        return self._exhaust(step, step, context)

    def close(self, generator: Any, context: contextvars.Context) -> bool:
        """End an async generator; return False for one that goes on and on."""
        closing = generator.aclose()
        return self._exhaust(lambda: closing.send(None), lambda: closing.throw(Evicted()), context)

    def _exhaust(self, first: Callable[[], Any], more: Callable[[], Any], context: contextvars.Context) -> bool:
        step = first
        for throws in range(MOST_THROWS):
            if throws:
                self._left -= 1
                if self._left < 0:
                    break
            self._on_throw()
            try:
                context.run(step)
            except BaseException:  # noqa: BLE001 - Evicted, or what a `finally` block made of it
                return True
            step = more  # it awaits on its way out, but nothing comes any more
        return False


def keep_for_ever(frame: Any) -> None:
    """Never let a frame be collected: its code would run once more then, outside of everything."""
    import ctypes

    ctypes.pythonapi.Py_IncRef(ctypes.py_object(frame))
