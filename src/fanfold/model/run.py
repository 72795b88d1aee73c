"""The rows that the engine writes and reads, as values.

They are array-like: a list of them encodes to JSON in one call, in the order of the columns that the statements name.
"""

from __future__ import annotations

from typing import Any

import msgspec

from fanfold.errors import KeyConflict, Quarantined

TASK = "task"
WORKFLOW = "workflow"
TIMER = "timer"
EVENT = "event"
GROUP = "group"
FOLD = "fold"
PAGE = "page"

ROOT = 0  # the parent id of a run that was started from outside
MAX_DEPTH = 64
TIMER_NAME = "sleep"
GROUP_NAME = "group"  # of a group whose members may be of several tasks
SUSPECT = 2  # process deaths without progress from which on a run is started only while no other such run is
MOST_CRASHES = 3  # then it is quarantined
HELD = (1 << 53) - 1  # when a member comes due that its group holds back: not before it has room
ENGINE_QUEUE = ""  # timers: no worker claims from it, the engine fires them


class NewRun(msgspec.Struct, array_like=True, gc=False):
    """A run to be inserted. Its id is known before the insert, and it may be inserted as already claimed."""

    id: int
    root_id: int
    parent_id: int
    parent_epoch: int
    depth: int
    key: str | None
    kind: str
    name: str
    digest: int
    input: str | None
    state: str
    delay_ms: int = 0
    queue: str = ENGINE_QUEUE
    priority: int = 0
    version: str = "0"
    options: str | None = None
    tags: str | None = None
    compensates: int = 0
    position: int | None = None
    spawner: int = 0  # the member that adds it to its own group
    is_held: int = 0  # until its group has room
    adopts: int = 0  # the group of an earlier attempt whose completed member of this key and input it takes over


class End(msgspec.Struct, array_like=True, gc=False):
    """The end of a run, guarded by its epoch and the state that the event starts from."""

    id: int
    epoch: int
    parent_id: int
    state: str
    output: str | None = None
    error: str | None = None


class Claimed(msgspec.Struct, array_like=True, gc=False):
    """A run that this worker has just claimed from the table."""

    id: int
    root_id: int
    parent_id: int
    epoch: int
    attempt: int
    crashes: int
    depth: int
    key: str | None
    kind: str
    name: str
    queue: str
    priority: int
    input: str | None
    options: str | None
    version: str
    tags: str | None
    compensates: int
    created_at: int
    has_children: int
    consumed: int = 0  # deliveries that a workflow had taken when it last left memory
    is_member: int = 0  # of a group


class Recorded(msgspec.Struct, array_like=True, gc=False):
    """A child as a replay needs it: what was called, and how it ended if that was delivered."""

    id: int
    key: str
    kind: str
    name: str
    digest: int
    state: str
    seq: int | None
    finished_at: int | None
    output: str | None
    error: str | None
    input: str | None = None  # the beginning of it, to show what was recorded
    available_at: int = 0
    is_asked: int = 0  # to cancel, and has not ended


def quarantine_text(crashes: int, attempt: int) -> str:
    """Return the recorded error of a run whose processes died again and again."""
    message = (
        f"{crashes} processes died in a row while this run was at work, so it is not started again by itself. "
        "Look for what kills the process: memory, a segmentation fault, os._exit"
    )
    record = {"type": Quarantined.__name__, "types": [Quarantined.__name__], "message": message, "attempts": attempt}
    return msgspec.json.encode(record).decode()


def conflict_text(key: str, name: str, run_id: int) -> str:
    """Return the recorded error of a member that gives a sibling a key which a run with another input has."""
    message = f"key {key!r} of {name} is taken by run {run_id}, with another input"
    record = {"type": KeyConflict.__name__, "types": [KeyConflict.__name__], "message": message}
    return msgspec.json.encode(record).decode()


class RunStatus(msgspec.Struct, frozen=True):
    """A run as people see it. Times are milliseconds since 1970, None where it has not happened."""

    id: int
    key: str | None
    name: str
    kind: str
    state: str
    parent_id: int
    root_id: int
    attempt: int
    version: str
    created_at: int
    started_at: int | None
    finished_at: int | None
    input: Any
    output: Any
    error: dict[str, Any] | None
    blocked: str | None
    tags: dict[str, str]
    progress: dict[str, Any] | None
    children: ChildCounts


class ChildCounts(msgspec.Struct, frozen=True):
    """How many children a run has, by how they stand; the first five are exclusive of one another but `spawned`."""

    spawned: int = 0
    open: int = 0
    running: int = 0
    completed: int = 0
    failed: int = 0
    cancelled: int = 0
