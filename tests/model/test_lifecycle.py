"""The transition table: what each event does, and what nothing does."""

from itertools import product

import pytest

from fanfold.model import lifecycle
from fanfold.model.lifecycle import STATES, TERMINAL, TRANSITIONS

# event -> source, target; written out, so that a change of the table is a decision and not a slip
TABLE = {
    "claim": ("pending", "running"),
    "complete": ("running", "completed"),
    "fail": ("running", "failed"),
    "stop": ("running", "cancelled"),
    "retry": ("running", "pending"),
    "quarantine": ("pending", "failed"),
    "release": ("running", "pending"),
    "evict": ("running", "waiting"),
    "wake": ("waiting", "pending"),
    "return": ("running", "waiting"),
    "settle": ("waiting", "completed"),
    "decide": ("waiting", "failed"),
    "block": ("running", "paused"),
    "resume": ("paused", "pending"),
    "fire": ("pending", "completed"),
    "drop": ("pending", "cancelled"),
    "cancel": ("pending", "cancelled"),
    "cancel_paused": ("paused", "cancelled"),
    "abandon": ("waiting", "cancelled"),
}


@pytest.mark.parametrize(("event", "state"), list(product(TRANSITIONS, STATES)))
def test_an_event_moves_a_run_from_its_source_and_from_nowhere_else(event: str, state: str):
    source, target = TABLE[event]
    assert (state in TRANSITIONS[event].sources) == (state == source)
    assert lifecycle.target(event) == target


def test_no_event_is_missing_from_this_table_or_from_the_other():
    assert TRANSITIONS.keys() == TABLE.keys()


@pytest.mark.parametrize("state", TERMINAL)
def test_nothing_leaves_a_terminal_state(state: str):
    assert not [event for event, transition in TRANSITIONS.items() if state in transition.sources]


def reachable(start: str) -> set[str]:
    reached = {start}
    while more := {t.target for t in TRANSITIONS.values() if reached & {*t.sources}} - reached:
        reached |= more
    return reached


def test_every_state_is_reached_from_the_first():
    assert reachable(lifecycle.PENDING) == set(STATES)


@pytest.mark.parametrize("state", [state for state in STATES if state not in TERMINAL])
def test_every_state_that_is_not_terminal_can_end_in_every_way(state: str):
    assert set(TERMINAL) <= reachable(state)


def test_states_are_told_apart():
    assert len(set(STATES)) == len(STATES) == 7
    assert [state for state in STATES if lifecycle.is_terminal(state)] == list(TERMINAL)


@pytest.mark.parametrize("event", TRANSITIONS)
def test_an_event_has_one_source(event: str):
    assert lifecycle.source(event) == TABLE[event][0]


def test_an_unknown_event_is_an_error():
    with pytest.raises(KeyError):
        lifecycle.source("explode")
    with pytest.raises(KeyError):
        lifecycle.target("explode")
