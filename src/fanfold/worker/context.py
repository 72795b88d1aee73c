"""What code inside a run can ask: which run it is, and to start children."""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from fanfold.errors import Evicted, InvalidInput, NotAllowed, NotInRun
from fanfold.model import keys
from fanfold.model.codec import decode_text, encode_text
from fanfold.model.run import Claimed, NewRun
from fanfold.worker import log_records
from fanfold.worker.handle import Handle

if TYPE_CHECKING:
    import random
    import uuid

    from fanfold.model.groups import Policy
    from fanfold.worker.calls import Calls
    from fanfold.worker.group import Group
    from fanfold.worker.siblings import Added
    from fanfold.worker.task import CallOptions, Task


class Context:
    """The run that the calling code belongs to, from `current()`."""

    __slots__ = ("_created_at", "_run", "_store_id")

    def __init__(self, run: NewRun | Claimed, created_at: int, store_id: str) -> None:
        self._run = run
        self._created_at = created_at
        self._store_id = store_id

    @property
    def id(self) -> int:
        """The run's id."""
        return self._run.id

    @property
    def key(self) -> str | None:
        """The key that the caller gave the run, or None."""
        return keys.shown(self._run.key)

    @property
    def parent_id(self) -> int | None:
        """The id of the run that started this one; None for a root."""
        return self._run.parent_id or None

    @property
    def attempt(self) -> int:
        """Which try of the run this is, from 1. A crash of the process does not count as a try."""
        return self._run.attempt if isinstance(self._run, Claimed) else 1

    @property
    def version(self) -> str:
        """The code version that the run was started with."""
        return self._run.version

    @property
    def tags(self) -> dict[str, str]:
        """The run's tags."""
        return {} if self._run.tags is None else decode_text(self._run.tags)

    @property
    def idempotency_key(self) -> str:
        """A text for the outside world, the same on every attempt of this run and of no other run.

        Bodies run at least once: a side effect that must happen once is given this key.
        """
        return f"{self._store_id}-{self._run.id}-{self._created_at}"

    @property
    def is_silent(self) -> bool:
        """Whether what the code logs now is dropped, since a replay only repeats it."""
        return False

    def now(self) -> float:
        """Return the time of the last delivery, in seconds since 1970, the same on replay; in workflows only."""
        raise NotAllowed("current().now() is for workflows; in a task read the clock")

    def random(self) -> random.Random:
        """Return a generator of random numbers that are the same on replay; in workflows only."""
        raise NotAllowed("current().random() is for workflows; in a task use the random module")

    def uuid(self) -> uuid.UUID:
        """Return a UUID that is the same on replay; in workflows only."""
        raise NotAllowed("current().uuid() is for workflows; in a task use the uuid module")

    @property
    def state(self) -> Any:
        """What the app's `lifespan` yielded in this process; in tasks only."""
        raise NotAllowed("current().state is for tasks: a workflow does no I/O")

    def report_progress(self, done: float, total: float | None = None, message: str | None = None) -> None:
        """Say how far the run is; shown by `status().progress`. The latest counts, and is durable soon after."""
        del done, total, message
        raise NotAllowed("current().report_progress() is for tasks; a workflow's progress is that of its children")

    def call(
        self, task: Task[..., Any], options: CallOptions, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Handle[Any]:
        """Start a child."""
        del options, args, kwargs
        raise NotAllowed(f"run {self.id} ({self._run.name}) cannot start {task.name} here")

    def map(
        self, task: Task[..., Any], options: CallOptions, items: Any, policy: Policy, *, is_starred: bool,
        key_of: Callable[[Any], str] | None,
    ) -> Group[Any, Any]:  # fmt: skip
        """Start a group of children, one for each item."""
        del options, items, policy, is_starred, key_of
        raise NotAllowed(f"run {self.id} ({self._run.name}) cannot start {task.name} here")

    def open_group(self, policy: Policy) -> Group[Any, Any]:
        """Open a group of children."""
        del policy
        raise NotAllowed(f"run {self.id} ({self._run.name}) cannot open a group here")

    @property
    def group(self) -> Added:
        """The group whose member this run is, to which it may add others; NotAllowed for a run that is no member."""
        raise NotAllowed(f"run {self.id} ({self._run.name}) is no member of a group: current().group is for members")

    def root_options(
        self, task: Task[..., Any], options: CallOptions, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> CallOptions:
        """Return the options of a root that the calling code starts: it has a key."""
        del options, args, kwargs
        raise NotAllowed(f"run {self.id} ({self._run.name}) cannot start {task.name} here")

    def away(self) -> AbstractAsyncContextManager[None]:
        """Have no slot while a run is waited for that is no child."""
        return nullcontext()

    def sleep(self, delay_s: float) -> Handle[None]:
        """Start a durable timer."""
        del delay_s
        raise NotAllowed("sleep() is for workflows; in a task use asyncio.sleep or time.sleep")


class Home(Protocol):
    """The worker, as a task's body sees it."""

    state: Any

    def calls_of_run(self, id: int, epoch: int) -> Calls | None:
        """Return the children of a body that is held; None if its run is no longer this worker's."""
        ...

    def siblings_of_run(self, id: int, epoch: int) -> Added | None:
        """Return what a member adds to its group; None if its run is no longer this worker's."""
        ...

    def report(self, id: int, epoch: int, progress: str) -> None:
        """Record how far a run is; from any thread."""
        ...


class TaskContext(Context):
    """`current()` inside a task's body."""

    __slots__ = ("_epoch", "_home", "_roots")

    def __init__(self, run: NewRun | Claimed, epoch: int, created_at: int, store_id: str, home: Home) -> None:
        super().__init__(run, created_at, store_id)
        self._epoch = epoch
        self._home = home
        self._roots: dict[str, int] = {}  # how many this attempt has started without a key, by their content

    @property
    def state(self) -> Any:
        """What the app's `lifespan` yielded in this process."""
        return self._home.state

    def report_progress(self, done: float, total: float | None = None, message: str | None = None) -> None:
        """Say how far the run is; shown by `status().progress`. The latest counts, and is durable soon after."""
        self._home.report(self.id, self._epoch, encode_text(checked_progress(done, total, message)))

    def call(
        self, task: Task[..., Any], options: CallOptions, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Handle[Any]:
        """Start a child, or find the one that an earlier attempt started."""
        calls = self._home.calls_of_run(self.id, self._epoch)
        if calls is None:
            raise Evicted
        return calls.call(task, options, args, kwargs)

    def map(
        self, task: Task[..., Any], options: CallOptions, items: Any, policy: Policy, *, is_starred: bool,
        key_of: Callable[[Any], str] | None,
    ) -> Group[Any, Any]:  # fmt: skip
        """Start a group of children, one for each item, or find the one that an earlier attempt started."""
        calls = self._home.calls_of_run(self.id, self._epoch)
        if calls is None:
            raise Evicted
        return calls.groups.map(task, options, items, policy, is_starred=is_starred, key_of=key_of)

    def open_group(self, policy: Policy) -> Group[Any, Any]:
        """Open a group of children, or find the one that an earlier attempt opened."""
        calls = self._home.calls_of_run(self.id, self._epoch)
        if calls is None:
            raise Evicted
        return calls.groups.open_group(policy)

    @property
    def group(self) -> Added:
        """The group whose member this run is, to which it may add others; NotAllowed for a run that is no member."""
        if not is_member(self._run):
            return super().group
        added = self._home.siblings_of_run(self.id, self._epoch)
        if added is None:
            raise Evicted
        return added

    def root_options(
        self, task: Task[..., Any], options: CallOptions, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> CallOptions:
        """Return the options of a root that the body starts: without a key it gets one, by which a retry finds it."""
        if self._home.calls_of_run(self.id, self._epoch) is None:
            raise Evicted
        if options.key is not None:
            return options
        content = task.signature.encode_content(args, kwargs)[2]
        number = self._roots.get(content, 0)
        self._roots[content] = number + 1
        keyed = copy.copy(options)
        keyed.key = keys.start_key(f"{self.idempotency_key}:{content}:{number}")
        return keyed

    def away(self) -> AbstractAsyncContextManager[None]:
        """Have no slot while a run is waited for that is no child."""
        calls = self._home.calls_of_run(self.id, self._epoch)
        return nullcontext() if calls is None else calls.away()


def is_member(run: NewRun | Claimed) -> bool:
    """Tell whether a run is a member of a group."""
    return bool(run.is_member) if isinstance(run, Claimed) else run.position is not None or run.spawner > 0


def checked_progress(done: object, total: object, message: object) -> dict[str, Any]:
    """Return what `report_progress` records; InvalidInput for what is no progress."""
    for name, value in (("done", done), ("total", total)):
        is_number = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < float("inf")
        if not is_number and not (name == "total" and value is None):
            raise InvalidInput(f"report_progress({name}=) is a number, not {value!r}")
    if message is not None and not isinstance(message, str):
        raise InvalidInput(f"report_progress(message=) is a text, not {message!r}")
    text = None if message is None else message.encode("utf-8", "replace").decode().replace("\0", " ")[:1000]
    return {"done": done, "total": total, "message": text}


_current: ContextVar[Context] = ContextVar("fanfold_run")
set_current: Callable[[Context], Any] = _current.set
log_records.install(partial(_current.get, None))


def current() -> Context:
    """Return the run that the calling code belongs to; NotInRun outside of runs.

    ```python
    from fanfold import App, current

    app = App("context", store="sqlite://")

    @app.task
    async def which(n: int) -> str:
        return f"{current().id}, attempt {current().attempt}"
    ```
    """
    context = _current.get(None)
    if context is None:
        raise NotInRun("current() was called outside a run: there is no run to tell about")
    return context


def away() -> AbstractAsyncContextManager[None]:
    """Have no slot, in the body of a task, while a run is waited for that is no child."""
    context = _current.get(None)
    return nullcontext() if context is None else context.away()


def calling_context(task: Task[..., Any]) -> Context:
    """Return the run that calls `task`; NotInRun, with the two ways out, where there is none."""
    context = _current.get(None)
    if context is None:
        raise NotInRun(
            f"{task.name} was called outside a run. {task.name}.fn(...) is the plain function; "
            f"app.start({task.name}, ...) or app.run({task.name}, ...) make a durable run of it"
        )
    return context
