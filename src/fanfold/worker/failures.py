"""Errors to text and back. Recording a failure never fails: the text is capped and can always be encoded."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Any

from fanfold.errors import TaskCancelled, TaskFailed, TaskTimedOut
from fanfold.model import lifecycle
from fanfold.model.codec import decode_text, encode_text

MAX_TRACEBACK = 64 << 10
MAX_MESSAGE = 8 << 10
_PACKAGE = str(Path(__file__).parent.parent)


def failure_text(error: BaseException) -> str:
    """Return what is recorded of an exception: its class and those above it, message, traceback."""
    return encode_text({
        "type": type(error).__name__,
        "types": [kind.__name__ for kind in type(error).__mro__ if kind not in (object, BaseException)],
        "message": _clean(_message(error), MAX_MESSAGE),
        "traceback": _clean(_trace(error), MAX_TRACEBACK),
        "attempts": 1,
    })  # fmt: skip


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as broken:  # noqa: BLE001 - an exception whose text raises is recorded all the same
        return f"<the text of this {type(error).__name__} raised {type(broken).__name__}>"


def _trace(error: BaseException) -> str:
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename.startswith(_PACKAGE):
        frames = frames.tb_next  # how fanfold came to call the body helps nobody
    try:
        return "".join(traceback.format_exception(type(error), error, frames))
    except Exception:  # noqa: BLE001 - as above
        return "".join(traceback.format_tb(frames))


def _clean(text: str, limit: int) -> str:
    """Return a text that every database takes, its end kept where it is too long: that is where the cause stands."""
    data = text.replace("\0", "\\x00").encode("utf-8", "backslashreplace")
    if len(data) > limit:
        data = b"... " + data[len(data) - limit + 4 :]
    return data.decode("utf-8", "ignore")  # what was cut in the middle of a letter


def child_error(name: str, run_id: int, state: str, error: str | None) -> TaskFailed:
    """Return the exception that a run's end raises in whoever waits for it."""
    record: dict[str, Any] = {} if error is None else decode_text(error)
    if state == lifecycle.CANCELLED:
        record.setdefault("type", "CancelledError")
        record.setdefault("message", "the run was cancelled")
        return TaskCancelled(name, run_id, record)
    kind = TaskTimedOut if record.get("timed_out") else TaskFailed
    failed = kind(name, run_id, record)
    if failed.traceback:
        failed.add_note(f"Traceback in {name} (run {run_id}):\n{failed.traceback}")
    return failed
