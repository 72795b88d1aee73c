"""Errors to text and back. Recording a failure never fails: the text is capped and can always be encoded."""

from __future__ import annotations

import asyncio
import traceback
from pathlib import Path
from types import TracebackType
from typing import Any, cast

from fanfold.errors import GroupFailed, TaskCancelled, TaskFailed, TaskTimedOut
from fanfold.model import lifecycle
from fanfold.model.codec import decode_text, encode_text
from fanfold.model.groups import recorded_summary

MAX_TRACEBACK = 64 << 10
MAX_MESSAGE = 8 << 10
MAX_NAME = 512
MAX_BRIEF = 500
MOST_LEAVES = 10  # of an ExceptionGroup, in the message
_PACKAGE = str(Path(__file__).parent.parent)
# What code that makes a text may raise and the record survives; Ctrl-C goes through.
BROKEN = (Exception, SystemExit, asyncio.CancelledError)


def failure_text(error: BaseException, attempts: int = 1) -> str:
    """Return what is recorded of an exception: its class and those above it, message, traceback, number of tries."""
    kind = type(error)
    return encode_text({
        "type": _name(kind),
        "types": [_name(one) for one in kind.__mro__ if one not in (object, BaseException)],
        "message": _clean(_message(error), MAX_MESSAGE),
        "traceback": _clean(_trace(error), MAX_TRACEBACK, "... shortened:\n"),
        "attempts": attempts,
    })  # fmt: skip


def brief(error: BaseException) -> str:
    """Return an exception's class and the beginning of its text, as every handler of a log can write them."""
    return _clean(f"{_name(type(error))}: {text_of(error)}"[:MAX_BRIEF], MAX_MESSAGE)


def _name(kind: type[BaseException]) -> str:
    return _clean(kind.__name__, MAX_NAME)


def _message(error: BaseException) -> str:
    """Return an exception's own text; that of a group names its leaves, or nobody would know what happened."""
    text = text_of(error)
    leaves = _leaves(error)
    if leaves == [error]:
        return text
    named = [f"{_name(type(leaf))}: {_clean(text_of(leaf), MAX_MESSAGE // MOST_LEAVES)}" for leaf in leaves]
    return f"{text}: {'; '.join(named[:MOST_LEAVES])}{', and more' if len(named) > MOST_LEAVES else ''}"


def _leaves(error: BaseException) -> list[BaseException]:
    """Return the exceptions in a group that are no groups: the first, and one more than are shown."""
    found: list[BaseException] = []
    left = [error]
    while left and len(found) <= MOST_LEAVES:
        one = left.pop()
        within = _within(one)
        if within:
            left.extend(reversed(within))
        else:
            found.append(one)
    return found


def _within(error: BaseException) -> tuple[BaseException, ...]:
    try:
        return cast("BaseExceptionGroup[Any]", error).exceptions if isinstance(error, BaseExceptionGroup) else ()
    except BROKEN:  # a group that does not tell
        return ()


def text_of(error: BaseException) -> str:
    """Return an exception's own text, or what kept it from having one."""
    try:
        return "".join(["", str(error)])  # a plain str, whatever class of text it was
    except BROKEN as broken:  # an exception whose text raises is recorded all the same
        return f"<the text of this {type(error).__name__} raised {type(broken).__name__}>"


def _trace(error: BaseException) -> str:
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename.startswith(_PACKAGE):
        frames = frames.tb_next  # how fanfold came to call the body helps nobody
    try:
        return "".join(traceback.format_exception(type(error), error, frames))
    except BROKEN:
        return f"{_frames(frames)}{type(error).__name__}: {text_of(error)}"


def _frames(frames: TracebackType | None) -> str:
    try:
        return "Traceback (most recent call last):\n" + "".join(traceback.format_tb(frames))
    except BROKEN:
        return ""


def _clean(text: str, limit: int, mark: str = "") -> str:
    """Return a text that every database takes, of at most `limit` bytes; it begins with `mark` if it was shortened.

    Most of the end is kept, where the cause stands, and some of the beginning, where the place or the name does.
    """
    if len(text) > 2 * limit:
        text = text[:limit] + text[-limit:]  # a message of megabytes is not worth encoding
    data = text.replace("\0", "\\x00").encode("utf-8", "backslashreplace")
    if len(data) > limit:
        head = mark.encode() + data[: limit // 8] + b"\n... "
        data = head + data[len(data) - limit + len(head) :]
    return data.decode("utf-8", "ignore")  # what was cut in the middle of a letter


def child_error(name: str, run_id: int, state: str, error: str | None) -> TaskFailed | GroupFailed:
    """Return the exception that a run's end raises in whoever waits for it."""
    record: dict[str, Any] = {} if error is None else decode_text(error)
    if state == lifecycle.CANCELLED:
        record.setdefault("type", "CancelledError")
        record.setdefault("message", "the run was cancelled")
        return TaskCancelled(name, run_id, record)
    if "failures" in record:
        failures = [_member_error(name, failure) for failure in record["failures"]]
        return GroupFailed(record["message"], failures, recorded_summary(record))
    kind = TaskTimedOut if record.get("type") == TaskTimedOut.__name__ else TaskFailed
    failed = kind(name, run_id, record)
    if failed.traceback:
        failed.add_note(f"Traceback in {name} (run {run_id}):\n{failed.traceback}")
    return failed


def _member_error(name: str, failure: dict[str, Any]) -> TaskFailed:
    kind = TaskCancelled if failure["state"] == lifecycle.CANCELLED else TaskFailed
    return kind(name, failure["run_id"], failure["error"])
