"""Which line of the user's code made a call, raised, or waits: what people look for in a message."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from types import CodeType
from typing import Any

_OURS = str(Path(__file__).parent.parent) + "/"
_ASYNCIO = str(Path(asyncio.__file__).parent) + "/"


def line_of_call() -> str:
    """Return file:line of the innermost frame that is neither fanfold's nor asyncio's."""
    frame = sys._getframe(1)  # pyright: ignore[reportPrivateUsage]  # noqa: SLF001 - the caller is the question
    while frame is not None:
        if _is_users(frame.f_code):
            return f"{frame.f_code.co_filename}:{frame.f_lineno}"
        frame = frame.f_back
    return ""


def line_of_error(error: BaseException) -> str:
    """Return file:line of the innermost frame of the user's that an exception passed."""
    found = ""
    trace = error.__traceback__
    while trace is not None:
        if _is_users(trace.tb_frame.f_code):
            found = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"
        trace = trace.tb_next
    return found


def line_of_wait(coroutine: Any) -> str:
    """Return file:line of where a suspended coroutine of the user's waits."""
    found = ""
    while coroutine is not None:
        for kind in ("cr", "gi", "ag"):
            frame = getattr(coroutine, f"{kind}_frame", None)
            if frame is not None:
                if _is_users(frame.f_code):
                    found = f"{frame.f_code.co_filename}:{frame.f_lineno}"
                coroutine = getattr(coroutine, "gi_yieldfrom" if kind == "gi" else f"{kind}_await", None)
                break
        else:
            break
    return found


def _is_users(code: CodeType) -> bool:
    return not code.co_filename.startswith((_OURS, _ASYNCIO, "<frozen"))
