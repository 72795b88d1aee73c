"""How one member of a group ended, for whoever iterates over the group or collects failures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec

from fanfold.errors import TaskFailed, UnknownTask
from fanfold.model import lifecycle
from fanfold.model.keys import shown
from fanfold.worker.failures import child_error

if TYPE_CHECKING:
    from fanfold.worker.task import Task

R = TypeVar("R")


class Outcome(msgspec.Struct, Generic[R], frozen=True):
    """How a member of a group ended.

    `index` is its place among the items (None for one that another member added), `key` the one that it was given, `id`
    its run. `ok` tells whether it completed: then `value` is its result, else `error` says why not.
    """

    index: int | None
    key: str | None
    id: int
    ok: bool
    value: R | None
    error: TaskFailed | None


class Member(msgspec.Struct, array_like=True, gc=False):
    """A member that has ended, as the store has it."""

    seq: int
    id: int
    key: str
    position: int | None
    name: str
    state: str
    output: str | None
    error: str | None


def outcome_of(member: Member, tasks: Mapping[str, Task[..., Any]]) -> Outcome[Any]:
    """Return a member as people see it; UnknownTask where its result cannot be decoded."""
    key = shown(member.key)
    if member.state != lifecycle.COMPLETED:
        error = child_error(member.name, member.id, member.state, member.error)
        assert isinstance(error, TaskFailed)  # noqa: S101 - members are no groups
        return Outcome(member.position, key, member.id, ok=False, value=None, error=error)
    task = tasks.get(member.name)
    if task is None:
        raise UnknownTask(f"run {member.id} is of {member.name}, which is not registered in this app")
    value = task.signature.result.decode(member.output or "null")
    return Outcome(member.position, key, member.id, ok=True, value=value, error=None)
