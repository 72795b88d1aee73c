"""`current()` inside a workflow."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from fanfold.model.ids import UUID, Random, place_random, place_uuid
from fanfold.worker.context import Context, is_member
from fanfold.worker.handle import Handle
from fanfold.worker.siblings import Added
from fanfold.worker.task import CallOptions, Task

if TYPE_CHECKING:
    from fanfold.model.groups import Policy
    from fanfold.worker.group import Group
    from fanfold.worker.workflow import WorkflowRun


class WorkflowContext(Context):
    """`current()` inside a workflow: besides what every run knows, time and chance that are the same on replay."""

    __slots__ = ("_workflow",)

    def __init__(self, workflow: WorkflowRun, created_at: int, store_id: str) -> None:
        super().__init__(workflow.run, created_at, store_id)
        self._workflow = workflow

    @property
    def is_silent(self) -> bool:
        """Whether what the code logs now is dropped: a replay only repeats it, or the workflow has left memory."""
        return self._workflow.is_silent or self._workflow.is_closed

    def now(self) -> float:
        """Return the time of the last delivery, in seconds since 1970."""
        return self._workflow.loop.time()

    def random(self) -> Random:
        """Return a generator of random numbers that depends on the place of this call alone."""
        return place_random(self.id, self._created_at, self._workflow.loop.place().next_call())

    def uuid(self) -> UUID:
        """Return a UUID that depends on the place of this call alone."""
        return place_uuid(self.id, self._created_at, self._workflow.loop.place().next_call())

    def call(
        self, task: Task[..., Any], options: CallOptions, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Handle[Any]:
        """Start a child."""
        return self._workflow.call(task, options, args, kwargs)

    def map(
        self, task: Task[..., Any], options: CallOptions, items: Any, policy: Policy, *, is_starred: bool,
        key_of: Callable[[Any], str] | None,
    ) -> Group[Any, Any]:  # fmt: skip
        """Start a group of children, one for each item."""
        return self._workflow.groups.map(task, options, items, policy, is_starred=is_starred, key_of=key_of)

    def open_group(self, policy: Policy) -> Group[Any, Any]:
        """Open a group of children."""
        return self._workflow.groups.open_group(policy)

    @property
    def group(self) -> Added:
        """The group whose member this run is, to which it may add others."""
        workflow = self._workflow
        if not is_member(workflow.run):
            return super().group
        if workflow.siblings is None:
            workflow.siblings = Added(workflow.run, workflow.epoch, workflow.task, workflow.take_id)
        return workflow.siblings

    def sleep(self, delay_s: float) -> Handle[None]:
        """Start a durable timer."""
        return self._workflow.sleep(delay_s)
