"""What a member adds to its own group: kept until it ends well, and committed with its result."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec

from fanfold.errors import InvalidInput, NotAllowed, PayloadTooLarge
from fanfold.model import keys, lifecycle
from fanfold.model.run import Claimed, NewRun
from fanfold.worker.handle import Handle
from fanfold.worker.task import Task, configured

P = ParamSpec("P")
MOST = 10_000  # siblings that one member adds
MOST_BYTES = 8 << 20  # of their inputs


class Added:
    """`current().group` in a member: its group, as far as it may change it."""

    def __init__(self, run: NewRun | Claimed, epoch: int, task: Task[..., Any], take_id: Callable[[], int]) -> None:
        self.new: list[NewRun] = []
        self._run = run
        self._epoch = epoch
        self._task = task
        self._take_id = take_id
        self._bytes = 0

    @property
    def id(self) -> int:
        """The group's id."""
        return self._run.parent_id

    def spawn(self, task: Callable[P, Handle[Any]], /, *args: P.args, **kwargs: P.kwargs) -> None:
        """Add a member to the group of the calling one: it is started when the calling one has completed.

        What a failed attempt added is dropped. `task` may be `task.options(key=...)`: a key that the group has with the
        same input is no second member; with another input it fails the calling one with KeyConflict. NotAllowed for
        more than 10,000, PayloadTooLarge for more than 8 MiB of inputs.
        """
        found, options = configured(task)
        self._task.refuse_foreign(found)
        if options.delay_ms:
            raise InvalidInput("a member that another one adds starts when there is room: delay= is not for it")
        if len(self.new) >= MOST:
            raise NotAllowed(
                f"a member adds at most {MOST:,} others: let those that it has added add the rest, or key ranges"
            )
        text, hashed = found.signature.encode(args, kwargs)
        self._bytes += len(text)
        if self._bytes > MOST_BYTES:
            raise PayloadTooLarge(
                f"what one member adds may have {MOST_BYTES >> 20} MiB of inputs in all: pass paths, keys or ranges"
            )
        run = self._run
        self.new.append(NewRun(
            self._take_id(), run.root_id, run.parent_id, self._epoch, run.depth,
            options.key or keys.sibling_key(run.id, len(self.new)), found.kind, found.name, hashed, text,
            lifecycle.PENDING, 0, found.queue if options.queue is None else options.queue,
            (found.priority or run.priority) if options.priority is None else options.priority, run.version,
            options.record(), run.tags if options.tags is None else options.tags, run.compensates, spawner=run.id,
        ))  # fmt: skip
