"""The rows that calls become: children, timers, groups. Their ids come when it is known that they are new."""

from __future__ import annotations

import math
from typing import Any

from fanfold.errors import KeyConflict
from fanfold.model import lifecycle
from fanfold.model.codec import digest, encode_text
from fanfold.model.groups import Policy, policy_text
from fanfold.model.keys import shown
from fanfold.model.run import FOLD, GROUP, PAGE, TIMER, TIMER_NAME, Claimed, NewRun, Recorded
from fanfold.worker.task import CallOptions, Task

Parent = NewRun | Claimed


def new_child(
    parent: Parent,
    epoch: int,
    task: Task[..., Any],
    options: CallOptions,
    key: str,
    hashed: int,
    text: str,
    compensates: int,
) -> NewRun:
    """Return a task or workflow that a run starts."""
    return NewRun(
        0, parent.root_id, parent.id, epoch, parent.depth + 1, key, task.kind, task.name, hashed, text,
        lifecycle.PENDING, options.delay_ms,
        task.queue if options.queue is None else options.queue,
        priority_of(parent, task, options),
        parent.version, options.record(), parent.tags if options.tags is None else options.tags, compensates,
    )  # fmt: skip


def new_group(parent: Parent, epoch: int, name: str, options: CallOptions, policy: Policy, key: str,
              compensates: int, priority: int) -> NewRun:  # fmt: skip
    """Return a group; `name` is that of the task of its members, or GROUP_NAME. It waits for them from the start."""
    return NewRun(
        0, parent.root_id, parent.id, epoch, parent.depth + 1, key, GROUP, name,
        digest(b"map", name.encode()), None, lifecycle.target("return"),
        priority=priority, version=parent.version, options=policy_text(policy),
        tags=parent.tags if options.tags is None else options.tags, compensates=compensates,
    )  # fmt: skip


def new_member(
    group: NewRun, id: int, task: Task[..., Any], options: CallOptions, key: str, hashed: int, text: str,
    position: int | None, *, is_held: bool,
) -> NewRun:  # fmt: skip
    """Return a member of a group."""
    return NewRun(
        id, group.root_id, group.id, group.parent_epoch, group.depth + 1, key, task.kind, task.name, hashed, text,
        lifecycle.PENDING, options.delay_ms, task.queue if options.queue is None else options.queue,
        (task.priority or group.priority) if options.priority is None else options.priority, group.version,
        options.record(), group.tags if options.tags is None else options.tags, group.compensates, position,
        is_held=int(is_held),
    )  # fmt: skip


def new_fold(parent: Parent, epoch: int, group: NewRun, key: str, compensates: int) -> NewRun:
    """Return a fold of a group; it waits from the start, and its output is its checkpoint."""
    return NewRun(
        0, parent.root_id, parent.id, epoch, parent.depth + 1, key, FOLD, group.name,
        digest(b"fold", (group.key or "").encode()), encode_text({"group": group.id}), lifecycle.target("return"),
        version=parent.version, compensates=compensates,
    )  # fmt: skip


def new_page(parent: Parent, epoch: int, group: NewRun, after: int, key: str, compensates: int) -> NewRun:
    """Return a page of a group's outcomes: those behind place `after`."""
    return NewRun(
        0, parent.root_id, parent.id, epoch, parent.depth + 1, key, PAGE, group.name,
        digest(b"page", f"{group.key}:{after}".encode()), None, lifecycle.PENDING,
        version=parent.version, compensates=compensates,
    )  # fmt: skip


def new_timer(parent: Parent, epoch: int, delay_s: float, key: str, compensates: int) -> NewRun:
    """Return a timer. Time is not in its digest, only the delay."""
    # Rounded up, but for the noise of floating point: a timer is never early.
    delay_ms = math.ceil(max(delay_s, 0.0) * 1000 - 1e-3)
    return NewRun(
        0, parent.root_id, parent.id, epoch, parent.depth + 1, key, TIMER, TIMER_NAME,
        digest(b"sleep", str(delay_ms).encode()), f'{{"delay_ms":{delay_ms}}}', lifecycle.PENDING, delay_ms,
        version=parent.version, compensates=compensates,
    )  # fmt: skip


def conflict(key: str, name: str, run_id: int) -> KeyConflict:
    """Return the error of a call whose key a child with another input has."""
    return KeyConflict(f"key {shown(key)!r} of {name} is taken by run {run_id}, with another input", run_id)


def priority_of(parent: Parent, task: Task[..., Any], options: CallOptions) -> int:
    """Return the priority of a child: the call's, else its task's, else its parent's."""
    return (task.priority or parent.priority) if options.priority is None else options.priority


def identity(child: NewRun | Recorded) -> str | tuple[str, str]:
    """Return by what a call finds its record: a place is one call's, whatever is called; a user's key is the task's."""
    key = child.key or ""
    return key if key.startswith("p:") else (key, child.name)
