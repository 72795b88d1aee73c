"""Groups: what their policies allow, what is kept of their failures, and how their ends are recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

import msgspec

from fanfold.model import lifecycle
from fanfold.model.codec import decode_text, encode_text
from fanfold.model.error_digest import ErrorDigest, Summary, read_failure
from fanfold.model.run import End

RAISE, COLLECT = "raise", "collect"
MOST_FAILURES = 100  # of a group's failed members that are handed to its owner as exceptions
MOST_TRACEBACKS = 5  # of these that are shown with all that is recorded of them


class Policy(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a group does about failures, and how many members run at once: its `options`."""

    failures: str = RAISE
    max_failures: int | None = None
    max_percent: float | None = None
    concurrency: int | None = None
    keeps_results: bool = True
    is_open: bool = False  # made by open_group: how many members there will be is known when the last has ended


class Standing(NamedTuple):
    """A group that is not decided, as a transaction sees it."""

    id: int
    epoch: int
    parent_id: int
    options: str | None
    digest: str | None
    spawned: int
    open: int
    failed: int
    cancelled: int
    held: int
    sealed: int

    @property
    def policy(self) -> Policy:
        """The group's policy."""
        return policy_of(self.options)


_decoder = msgspec.json.Decoder(Policy)
_summary_decoder = msgspec.json.Decoder(Summary)
_encoder = msgspec.json.Encoder()
_DEFAULT = Policy()


def policy_of(options: str | None) -> Policy:
    """Return the policy that is recorded in a group's options."""
    return _DEFAULT if options is None else _decoder.decode(options)


def policy_text(policy: Policy) -> str | None:
    """Return what is recorded of a policy; None for the default."""
    return None if policy == _DEFAULT else _encoder.encode(policy).decode()


def is_broken(group: Standing) -> bool:
    """Tell whether more members failed than the group's policy allows."""
    policy = group.policy
    if policy.failures == RAISE:
        return group.failed + group.cancelled > 0
    if policy.max_failures is not None and group.failed > policy.max_failures:
        return True
    is_known = group.sealed and not (policy.is_open and group.open)
    if not is_known or policy.max_percent is None:
        return False
    # As it was written: 57 of 10,000 are 0.57 %, and no more, though 0.57 * 10000 is less than 5700.
    return group.failed * 100 > Fraction(str(policy.max_percent)) * group.spawned


def note_failures(
    digest: str | None, failed: Sequence[End], names: Mapping[int, tuple[str | None, int | None]]
) -> str | None:
    """Return a group's digest with these members in it; `names` are their keys and positions."""
    noted = ErrorDigest.decode(digest)
    for end in failed:
        if end.state == lifecycle.FAILED:
            failure = read_failure(end.error)
            noted.add(failure.type, failure.message, end.id, *names.get(end.id, (None, None)))
    return noted.encode()


def summary_of(group: Standing) -> Summary:
    """Return how a group stands, for people."""
    completed = group.spawned - group.open - group.failed - group.cancelled
    return ErrorDigest.decode(group.digest).summary(group.spawned, completed, group.failed, group.cancelled)


def group_output(group: Standing) -> str:
    """Return what is recorded of a group whose members have all ended, within its policy."""
    return _encoder.encode(summary_of(group)).decode()


def group_error(group: Standing, failed: Sequence[End]) -> str:
    """Return what is recorded of a group that its policy ended; `failed` are the members that decided it."""
    summary = summary_of(group)
    failures = [_failure(end, is_whole=place < MOST_TRACEBACKS) for place, end in enumerate(failed[:MOST_FAILURES])]
    there = {failure["run_id"] for failure in failures}
    for kind in summary.errors:
        for example in kind.examples:
            if len(failures) < MOST_FAILURES and example.run_id not in there:
                error = {"type": kind.error_type, "message": example.message}
                failures.append({"run_id": example.run_id, "state": lifecycle.FAILED, "error": error})
    return _record(str(summary), failures, summary)


def summary_in(end: End) -> Summary | None:
    """Return the summary that is recorded with a group's end; None for one that was cancelled."""
    if end.output is not None:
        return _summary_decoder.decode(end.output)
    return None if end.error is None else recorded_summary(decode_text(end.error))


def recorded_summary(record: Mapping[str, Any]) -> Summary | None:
    """Return the summary in a group's recorded error; None in any other."""
    found = record.get("summary")
    return None if found is None else msgspec.convert(found, Summary)


def items_error(what: str, error: str) -> str:
    """Return what is said of a group whose items raised something; `what` is the call as the user wrote it."""
    record = decode_text(error)
    return encode_text(record | {"said": f"the items of {what} raised {record['type']}: {record['message']}"})


def broken_items(group: Standing, error: str) -> str:
    """Return what is recorded of a group whose items raised something; `error` is from `items_error`."""
    record = decode_text(error)
    failure = {"run_id": group.id, "state": lifecycle.FAILED, "error": record}
    return _record(record.pop("said"), [failure], summary_of(group))


def _record(message: str, failures: list[dict[str, Any]], summary: Summary) -> str:
    return encode_text({
        "type": "GroupFailed", "types": ["GroupFailed"], "message": message, "failures": failures,
        "summary": msgspec.to_builtins(summary),
    })  # fmt: skip


def _failure(end: End, *, is_whole: bool) -> dict[str, Any]:
    error: dict[str, Any] = {} if end.error is None else decode_text(end.error)
    error.setdefault("type", "CancelledError" if end.state == lifecycle.CANCELLED else "Exception")
    error.setdefault("message", "")
    if not is_whole:
        error.pop("traceback", None)
    return {"run_id": end.id, "state": end.state, "error": error}
