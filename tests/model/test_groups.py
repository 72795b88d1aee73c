"""Groups: what a policy allows, and what is recorded of a group that it ended."""

import itertools
from typing import Any

import pytest

from fanfold.model import lifecycle
from fanfold.model.codec import decode_text
from fanfold.model.groups import (
    COLLECT,
    MOST_FAILURES,
    MOST_TRACEBACKS,
    Policy,
    Standing,
    broken_items,
    group_error,
    group_output,
    is_broken,
    items_error,
    note_failures,
    policy_of,
    policy_text,
    recorded_summary,
    summary_in,
)  # fmt: skip
from fanfold.model.run import End

ERROR = '{"type":"OSError","message":"disk 7","traceback":"where"}'


def standing(policy: Policy | None = None, digest: str | None = None, **counts: int) -> Standing:
    spawned = counts.pop("spawned", 0)
    numbers = {"open": 0, "failed": 0, "cancelled": 0, "held": 0, "sealed": 1} | counts
    return Standing(9, 0, 1, policy_text(policy or Policy()), digest, spawned, **numbers)


def ends(count: int, state: str = lifecycle.FAILED, error: str | None = ERROR) -> list[End]:
    return [End(100 + place, 1, 9, state, None, error) for place in range(count)]


@pytest.mark.parametrize(
    "policy",
    [Policy(), Policy(COLLECT), Policy(COLLECT, 10), Policy(COLLECT, None, 0.5, 3, keeps_results=False, is_open=True)],
)
def test_a_policy_comes_back_as_it_was_recorded(policy: Policy):
    assert policy_of(policy_text(policy)) == policy


def test_of_the_default_policy_nothing_is_recorded():
    assert policy_text(Policy()) is None


def test_a_group_that_raises_allows_neither_failure_nor_cancel():
    assert not is_broken(standing(spawned=2))
    assert is_broken(standing(spawned=2, failed=1))
    assert is_broken(standing(spawned=2, cancelled=1))


def test_a_group_that_collects_allows_everything_without_a_limit():
    assert not is_broken(standing(Policy(COLLECT), spawned=9, failed=8, cancelled=1))


def test_just_as_many_failures_are_allowed_as_was_said():
    assert not is_broken(standing(Policy(COLLECT, 10), spawned=20, failed=10, cancelled=10))
    assert is_broken(standing(Policy(COLLECT, 10), spawned=20, failed=11))


def test_none_is_a_number_as_well():
    assert is_broken(standing(Policy(COLLECT, 0), spawned=20, failed=1))
    assert is_broken(standing(Policy(COLLECT, max_percent=0.0), spawned=20, failed=1))


def test_a_percentage_is_exact():
    for hundredths, per_mille in itertools.product(range(1, 1000), (1, 10)):
        policy = Policy(COLLECT, max_percent=hundredths / 100)
        spawned = 10_000 * per_mille
        allowed = hundredths * per_mille
        assert not is_broken(standing(policy, spawned=spawned, failed=allowed)), policy
        assert is_broken(standing(policy, spawned=spawned, failed=allowed + 1)), policy


def test_a_percentage_waits_until_the_number_of_members_is_known():
    policy = Policy(COLLECT, max_percent=10.0)
    assert not is_broken(standing(policy, spawned=2, failed=1, sealed=0))
    assert is_broken(standing(policy, spawned=2, failed=1, open=1))
    is_open = Policy(COLLECT, max_percent=10.0, is_open=True)
    assert not is_broken(standing(is_open, spawned=2, failed=1, open=1))
    assert is_broken(standing(is_open, spawned=2, failed=1, open=0))


def test_a_digest_counts_failures_and_no_cancels():
    digest = note_failures(None, [*ends(2), *ends(1, lifecycle.CANCELLED, None)], {100: ("k:a", None), 101: (None, 4)})
    summary = summary_in(End(9, 0, 1, lifecycle.COMPLETED, group_output(standing(digest=digest, spawned=3, failed=2))))
    assert summary is not None
    (kind,) = summary.errors
    assert (kind.count, [example.key for example in kind.examples]) == (2, ["a", "#4"])


def test_a_failed_member_without_a_record_counts_as_well():
    digest = note_failures(None, ends(1, error=None), {})
    assert digest is not None
    assert '"Exception"' in digest


def test_the_members_that_decide_are_shown_first_and_no_more_than_a_hundred():
    digest = note_failures(None, ends(5), {})
    later = [End(1000 + place, 1, 9, lifecycle.FAILED, None, ERROR) for place in range(3)]
    record = decode_text(group_error(standing(digest=digest, spawned=9, failed=8), later))
    shown = [failure["run_id"] for failure in record["failures"]]
    assert shown == [1000, 1001, 1002, 100, 101, 102, 103, 104]
    many = decode_text(group_error(standing(spawned=200, failed=200), ends(200)))["failures"]
    assert len(many) == MOST_FAILURES
    assert ["traceback" in failure["error"] for failure in many[: MOST_TRACEBACKS + 1]] == [True] * MOST_TRACEBACKS + [
        False
    ]


def test_a_cancelled_member_that_decides_is_shown_as_such():
    record = decode_text(group_error(standing(spawned=1, cancelled=1), ends(1, lifecycle.CANCELLED, None)))
    assert record["failures"][0]["state"] == lifecycle.CANCELLED
    assert record["failures"][0]["error"]["type"] == "CancelledError"


def test_the_summary_is_recorded_with_every_end_but_a_cancel():
    group = standing(spawned=3, failed=1)
    for end in (
        End(9, 0, 1, lifecycle.COMPLETED, group_output(group)),
        End(9, 0, 1, lifecycle.FAILED, None, group_error(group, ends(1))),
    ):
        summary: Any = summary_in(end)
        assert (summary.spawned, summary.completed, summary.failed) == (3, 2, 1)
    assert summary_in(End(9, 0, 1, lifecycle.CANCELLED)) is None
    assert recorded_summary(decode_text(ERROR)) is None


def test_items_that_raise_are_told_with_what_the_user_wrote():
    said = items_error("work.map", '{"type":"ValueError","types":["ValueError"],"message":"no"}')
    record = decode_text(broken_items(standing(spawned=3), said))
    assert record["message"] == "the items of work.map raised ValueError: no"
    (failure,) = record["failures"]
    assert failure == {
        "run_id": 9, "state": lifecycle.FAILED,
        "error": {"type": "ValueError", "types": ["ValueError"], "message": "no"},
    }  # fmt: skip
