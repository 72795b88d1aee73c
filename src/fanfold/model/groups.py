"""How a group that did not complete is recorded: which members failed, with what."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fanfold.model import lifecycle
from fanfold.model.codec import decode_text, encode_text
from fanfold.model.run import End

MOST_FAILURES = 100  # of a group's failed members that are handed to its owner as exceptions


def group_error(spawned: int, failed: Sequence[End]) -> str:
    """Return the recorded error of a group: the first of its failed members, and how many there were."""
    failures = [_failure(end) for end in failed[:MOST_FAILURES]]
    first = failures[0]["error"]
    return _record(f"{len(failed):,} of {spawned:,} failed: {first['type']}: {first['message']}", failures)


def items_error(what: str, group_id: int, error: str) -> str:
    """Return the recorded error of a group whose items raised something; `what` is the call as the user wrote it."""
    record = decode_text(error)
    failure = {"run_id": group_id, "state": lifecycle.FAILED, "error": record}
    return _record(f"the items of {what} raised {record['type']}: {record['message']}", [failure])


def _record(message: str, failures: list[dict[str, Any]]) -> str:
    return encode_text({"type": "GroupFailed", "types": ["GroupFailed"], "message": message, "failures": failures})


def _failure(end: End) -> dict[str, Any]:
    error: dict[str, Any] = {} if end.error is None else decode_text(end.error)
    error.setdefault("type", "CancelledError" if end.state == lifecycle.CANCELLED else "Exception")
    error.setdefault("message", "")
    return {"run_id": end.id, "state": end.state, "error": error}
