"""The states of a run and the events that move it: the one place that names them.

Everything that changes a state is an event in `TRANSITIONS`. The store renders its SQL guards from this table, once,
at import; the documentation's diagram is made from it. This file does not know what a database is.
"""

from __future__ import annotations

from typing import Final, NamedTuple

PENDING: Final = "pending"
RUNNING: Final = "running"
WAITING: Final = "waiting"
PAUSED: Final = "paused"
COMPLETED: Final = "completed"
FAILED: Final = "failed"
CANCELLED: Final = "cancelled"

STATES: Final = (PENDING, RUNNING, WAITING, PAUSED, COMPLETED, FAILED, CANCELLED)
TERMINAL: Final = (COMPLETED, FAILED, CANCELLED)


class Transition(NamedTuple):
    """What an event does: from one of `sources` to `target`."""

    sources: tuple[str, ...]
    target: str


TRANSITIONS: Final[dict[str, Transition]] = {
    # A worker takes a run; the epoch rises.
    "claim": Transition((PENDING,), RUNNING),
    # The body ended.
    "complete": Transition((RUNNING,), COMPLETED),
    "fail": Transition((RUNNING,), FAILED),
    "stop": Transition((RUNNING,), CANCELLED),
    # The body failed and its policy allows another attempt, after a delay.
    "retry": Transition((RUNNING,), PENDING),
    # It has run in too many processes that died.
    "quarantine": Transition((PENDING,), FAILED),
    # The worker gives the run back: it stops, or it died and another one says so.
    "release": Transition((RUNNING,), PENDING),
    # An idle workflow leaves memory; something arrived for it.
    "evict": Transition((RUNNING,), WAITING),
    "wake": Transition((WAITING,), PENDING),
    # The body returned while children are open; the last of them ended.
    "return": Transition((RUNNING,), WAITING),
    "settle": Transition((WAITING,), COMPLETED),
    # A member of a group failed, and its policy ends the group with that.
    "decide": Transition((WAITING,), FAILED),
    # A workflow's code no longer fits its record; somebody mended it.
    "block": Transition((RUNNING,), PAUSED),
    "resume": Transition((PAUSED,), PENDING),
    # A timer is due; its owner no longer wants it.
    "fire": Transition((PENDING,), COMPLETED),
    "drop": Transition((PENDING,), CANCELLED),
    # A run that no worker holds is cancelled: before it started, while it stands still, after its body returned.
    "cancel": Transition((PENDING,), CANCELLED),
    "cancel_paused": Transition((PAUSED,), CANCELLED),
    "abandon": Transition((WAITING,), CANCELLED),
}


def source(event: str) -> str:
    """Return the only state that `event` starts from; a KeyError or ValueError is a mistake in fanfold."""
    (only,) = TRANSITIONS[event].sources
    return only


def target(event: str) -> str:
    """Return the state that `event` leads to."""
    return TRANSITIONS[event].target


def is_terminal(state: str) -> bool:
    """Tell whether a run in `state` has ended."""
    return state in TERMINAL
