"""The rows that calls become: children, timers, groups. Their ids come when it is known that they are new."""

from __future__ import annotations

import math
from typing import Any

from fanfold.errors import KeyConflict
from fanfold.model import lifecycle
from fanfold.model.codec import digest
from fanfold.model.keys import shown
from fanfold.model.run import GROUP, TIMER, TIMER_NAME, Claimed, NewRun
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
        _priority(parent, task, options),
        parent.version, options.record(), parent.tags if options.tags is None else options.tags, compensates,
    )  # fmt: skip


def new_group(
    parent: Parent, epoch: int, task: Task[..., Any], options: CallOptions, key: str, compensates: int
) -> NewRun:
    """Return a group, whose members are children of `task`. It waits for them from the start."""
    return NewRun(
        0, parent.root_id, parent.id, epoch, parent.depth + 1, key, GROUP, task.name,
        digest(b"map", task.name.encode()), None, lifecycle.target("return"),
        priority=_priority(parent, task, options), version=parent.version,
        tags=parent.tags if options.tags is None else options.tags, compensates=compensates,
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


def _priority(parent: Parent, task: Task[..., Any], options: CallOptions) -> int:
    return (task.priority or parent.priority) if options.priority is None else options.priority
