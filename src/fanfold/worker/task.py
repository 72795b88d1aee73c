"""Registered functions: what the decorators make of a function, and what calling it does."""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import AsyncIterable, Callable, Coroutine, Iterable, Mapping
from typing import Any, Generic, Literal, ParamSpec, Self, TypeVar, cast, overload

from fanfold.errors import InvalidInput, UnknownTask
from fanfold.model import run
from fanfold.model.codec import Signature, encode_text
from fanfold.model.duration import MAX_DELAY_S, Duration, seconds
from fanfold.model.groups import RAISE
from fanfold.model.keys import user_key
from fanfold.model.retry import ONCE, Retry
from fanfold.worker.context import calling_context
from fanfold.worker.group import Group, checked_policy
from fanfold.worker.handle import Handle
from fanfold.worker.outcome import Outcome
from fanfold.worker.reference import check_reference

P = ParamSpec("P")
R = TypeVar("R")
Items = Iterable[Any] | AsyncIterable[Any]

MAX_NAME_BYTES = 512
LOOP, THREAD, PROCESS = "loop", "thread", "process"
EXECUTORS = (THREAD, PROCESS)


class CallOptions:
    """What one call overrides."""

    __slots__ = ("delay_ms", "key", "policy", "priority", "queue", "tags")

    def __init__(
        self, key: str | None = None, queue: str | None = None, priority: int | None = None,
        delay: Duration = 0, tags: Mapping[str, str] | None = None, retry: Retry | None = None,
        timeout: Duration | None = None,
    ) -> None:  # fmt: skip
        self.key = None if key is None else user_key(_checked(key, "key"))
        self.queue = None if queue is None else _checked(queue, "queue")
        self.priority = _checked_priority(priority)
        self.delay_ms = checked_delay(delay)
        self.tags = None if tags is None else encode_text(_checked_tags(tags))
        self.policy: dict[str, Any] = {}  # what is stored with the run, as its `options`
        if retry is not None:
            self.policy["retry"] = _checked_retry(retry).to_record()
        if timeout is not None:
            self.policy["timeout_ms"] = checked_timeout(timeout)

    def with_key(self, key: str) -> CallOptions:
        """Return the same with a key."""
        keyed = copy.copy(self)
        keyed.key = user_key(_checked(key, "key"))
        return keyed

    def record(self, **more: Any) -> str | None:
        """Return the `options` of a run that is called with these, None where there are none."""
        policy = self.policy | more
        return encode_text(policy) if policy else None


class Task(Generic[P, R]):
    """A registered function. Inside a run, calling it starts a durable child and returns its `Handle`.

    `fn` is the plain function, typed as written. Made by `@app.task`.
    """

    kind = run.TASK

    def __init__(
        self, function: Callable[..., Any], *, name: str | None, queue: str, priority: int, max_payload: int,
        retry: Retry | None = None, timeout: Duration | None = None, executor: str | None = None,
    ) -> None:  # fmt: skip
        _refuse_odd_functions(function)
        self.retry = ONCE if retry is None else _checked_retry(retry)
        self.timeout_ms = None if timeout is None else checked_timeout(timeout)
        self.name = _checked(name or function.__name__, "task name")
        self.queue = _checked(queue, "queue")
        self.priority = _checked_priority(priority) or 0
        self.is_async = inspect.iscoroutinefunction(function)
        self.executor = _checked_executor(executor, self.name, is_async=self.is_async)
        if self.executor == PROCESS:
            check_reference(function)
        self._function = function
        self._max_payload = max_payload
        self.registry: object = None  # of its app: tasks of another one cannot be called in its runs
        functools.update_wrapper(self, function)
        if _resolves(function):
            _ = self.signature  # a type that cannot travel is an error at decoration

    @functools.cached_property
    def signature(self) -> Signature:
        """How arguments and results become text; made at first use, when all annotations can be resolved."""
        return Signature(self._function, self.name, self._max_payload)

    def with_body(self, function: Callable[..., Any]) -> Self:
        """Return the same task, name and signature, with another body; for tests."""
        _ = self.signature  # of the function as it was declared
        changed = copy.copy(self)
        changed.is_async = inspect.iscoroutinefunction(function)
        changed.executor = LOOP if changed.is_async else THREAD
        changed._function = function  # noqa: SLF001 - a copy of this very object
        return changed

    def refuse_foreign(self, other: Task[..., Any]) -> None:
        """Raise UnknownTask for a task of another app: no worker of this one would find it, or find the right one."""
        if other.registry is None:
            raise UnknownTask(f"another task has the name {other.name} since: @app.task(name=...) tells them apart")
        if other.registry is not self.registry:
            raise UnknownTask(
                f"{self.name} calls {other.name}, which is registered in another app; register it in this one, "
                "or start it through its own app with app.start"
            )

    @property
    def function(self) -> Callable[..., Any]:
        """The plain function, untyped."""
        return self._function

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Handle[R]:
        """Start a durable child of the calling run. NotInRun outside of runs, InvalidInput for wrong arguments."""
        return calling_context(self).call(self, NO_OPTIONS, args, kwargs)

    @overload
    def map(
        self, items: Items, *, failures: Literal["raise"] = "raise", concurrency: int | None = None,
        key: Callable[[Any], str] | None = None, keep_results: bool = True,
    ) -> Group[list[R], R]: ...  # fmt: skip
    @overload
    def map(
        self, items: Items, *, failures: Literal["collect"], max_failures: int | str | None = None,
        concurrency: int | None = None, key: Callable[[Any], str] | None = None, keep_results: bool = True,
    ) -> Group[list[Outcome[R]], R]: ...  # fmt: skip
    def map(self, items: Items, **settings: Any) -> Group[Any, R]:
        """Start a durable child for each item: a group. Awaited, it is the list of their results in the items' order.

        The task has one required argument. The items are pulled as there is room: never are more than 10,000 of their
        children unfinished. `failures="raise"`: the first that does not complete cancels the rest, and GroupFailed is
        raised. "collect": all run, and the list is of `Outcome`s; `max_failures` (a number, or a percentage as "1%"
        once the number of items is known) is how many may fail. `concurrency` bounds how many run at once, `key` names
        the child of an item, `keep_results=False` drops results that a fold has taken in.
        """
        return mapped(self, NO_OPTIONS, items, is_starred=False, **settings)

    @overload
    def starmap(
        self, items: Items, *, failures: Literal["raise"] = "raise", concurrency: int | None = None,
        key: Callable[[Any], str] | None = None, keep_results: bool = True,
    ) -> Group[list[R], R]: ...  # fmt: skip
    @overload
    def starmap(
        self, items: Items, *, failures: Literal["collect"], max_failures: int | str | None = None,
        concurrency: int | None = None, key: Callable[[Any], str] | None = None, keep_results: bool = True,
    ) -> Group[list[Outcome[R]], R]: ...  # fmt: skip
    def starmap(self, items: Items, **settings: Any) -> Group[Any, R]:
        """Do what `map` does, with items that are tuples of several arguments."""
        return mapped(self, NO_OPTIONS, items, is_starred=True, **settings)

    def options(
        self, *, key: str | None = None, queue: str | None = None, priority: int | None = None, delay: Duration = 0,
        tags: Mapping[str, str] | None = None, retry: Retry | None = None, timeout: Duration | None = None,
    ) -> ConfiguredTask[P, R]:  # fmt: skip
        """Return the same task with other settings for the calls made through it.

        `key` names the child among its parent's children of this task: the same key and input is the same run.
        `delay` (seconds or timedelta) is how long it waits before it may start; higher `priority` runs first.
        `retry` and `timeout` are the task's own otherwise; workflows have neither.
        """
        if self.kind == run.WORKFLOW and (retry is not None or timeout is not None):
            raise InvalidInput(f"{self.name} is a workflow: retry and timeout are for tasks")
        return ConfiguredTask(self, CallOptions(key, queue, priority, delay, tags, retry, timeout))

    def __set_name__(self, owner: type, name: str) -> None:
        raise InvalidInput(
            f"{owner.__name__}.{name} is a method; tasks are functions: move it out of the class, or make it static"
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"


class SyncTask(Task[P, R]):
    """A task whose function is a plain one; it runs in a thread, or in a process."""

    @property
    def fn(self) -> Callable[P, R]:
        """The plain function."""
        return self._function


class AsyncTask(Task[P, R]):
    """A task whose function is a coroutine function; it runs on the event loop, or in a process."""

    @property
    def fn(self) -> Callable[P, Coroutine[Any, Any, R]]:
        """The plain coroutine function."""
        return self._function


class Workflow(Task[P, R]):
    """A registered coroutine function that coordinates: replayed after a crash. Made by `@app.workflow`."""

    kind = run.WORKFLOW

    @property
    def fn(self) -> Callable[P, Coroutine[Any, Any, R]]:
        """The plain coroutine function."""
        return self._function


class ConfiguredTask(Generic[P, R]):
    """A task with settings for its calls, from `Task.options`."""

    def __init__(self, task: Task[P, R], call_options: CallOptions) -> None:
        self.task = task
        self.call_options = call_options

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Handle[R]:
        """Start a durable child of the calling run with these settings."""
        return calling_context(self.task).call(self.task, self.call_options, args, kwargs)

    @overload
    def map(
        self, items: Items, *, failures: Literal["raise"] = "raise", concurrency: int | None = None,
        key: Callable[[Any], str] | None = None, keep_results: bool = True,
    ) -> Group[list[R], R]: ...  # fmt: skip
    @overload
    def map(
        self, items: Items, *, failures: Literal["collect"], max_failures: int | str | None = None,
        concurrency: int | None = None, key: Callable[[Any], str] | None = None, keep_results: bool = True,
    ) -> Group[list[Outcome[R]], R]: ...  # fmt: skip
    def map(self, items: Items, **settings: Any) -> Group[Any, R]:
        """Start a durable child for each item with these settings; see `Task.map`."""
        return mapped(self.task, self.call_options, items, is_starred=False, **settings)

    @overload
    def starmap(
        self, items: Items, *, failures: Literal["raise"] = "raise", concurrency: int | None = None,
        key: Callable[[Any], str] | None = None, keep_results: bool = True,
    ) -> Group[list[R], R]: ...  # fmt: skip
    @overload
    def starmap(
        self, items: Items, *, failures: Literal["collect"], max_failures: int | str | None = None,
        concurrency: int | None = None, key: Callable[[Any], str] | None = None, keep_results: bool = True,
    ) -> Group[list[Outcome[R]], R]: ...  # fmt: skip
    def starmap(self, items: Items, **settings: Any) -> Group[Any, R]:
        """Start a durable child for each tuple of arguments with these settings; see `Task.starmap`."""
        return mapped(self.task, self.call_options, items, is_starred=True, **settings)


def mapped(
    task: Task[..., Any], options: CallOptions, items: Any, *, is_starred: bool, failures: str = RAISE,
    max_failures: int | str | None = None, concurrency: int | None = None, key: Callable[[Any], str] | None = None,
    keep_results: bool = True,
) -> Group[Any, Any]:  # fmt: skip
    """Start a group; InvalidInput for a task that does not take such items, or for what is no iterable."""
    name = "starmap" if is_starred else "map"
    context = calling_context(task)
    if not is_starred and task.signature.required != 1:
        raise InvalidInput(
            f"{task.name} has {task.signature.required} required arguments: {task.name}.map is for one; "
            f"use {task.name}.starmap with tuples"
        )
    if options.key is not None:
        raise InvalidInput(
            f"one key cannot name many children: give {task.name}.{name} a key= that makes one of an item"
        )
    if not hasattr(items, "__iter__") and not hasattr(items, "__aiter__"):
        raise InvalidInput(f"{task.name}.{name} takes an iterable, not {items!r:.80}")
    if key is not None and not callable(key):
        raise InvalidInput(f"{task.name}.{name}: key= is a function of the item, not {key!r:.80}")
    if concurrency is not None and options.delay_ms:
        raise InvalidInput("delay= and concurrency= do not go together: a member starts when its group has room")
    policy = checked_policy(failures, max_failures, concurrency, keep_results=keep_results)
    return context.map(task, options, items, policy, is_starred=is_starred, key_of=key)


def configured(target: Callable[P, Handle[R]]) -> tuple[Task[P, R], CallOptions]:
    """Return the task and the settings of what a caller hands to `app.run`; InvalidInput for anything else."""
    if isinstance(target, ConfiguredTask):
        configured_task = cast("ConfiguredTask[P, R]", target)
        return configured_task.task, configured_task.call_options
    if isinstance(target, Task):
        return cast("Task[P, R]", target), NO_OPTIONS
    raise InvalidInput(f"{target!r} is not a task: decorate the function with @app.task or @app.workflow")


def _resolves(function: Callable[..., Any]) -> bool:
    """Tell whether all annotations can be resolved already; those of classes further down cannot."""
    try:
        inspect.get_annotations(function, eval_str=True)
    except NameError:
        return False
    return True


def _refuse_odd_functions(function: Callable[..., Any]) -> None:
    if isinstance(function, classmethod | property):
        raise InvalidInput(f"{function!r} is no function: tasks are functions")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise InvalidInput(f"{function.__name__} is a generator; a task returns its result")
    if not inspect.isfunction(function):
        raise InvalidInput(f"{function!r} is no function: tasks are functions, and are registered by name")


def _checked(text: object, what: str) -> str:
    """Return a name that every database can hold."""
    if not isinstance(text, str) or not text:
        raise InvalidInput(f"a {what} is a text that is not empty, not {text!r}")
    if len(text.encode("utf-8", "surrogatepass")) > MAX_NAME_BYTES:
        raise InvalidInput(f"{what} {text[:40]!r}... is longer than {MAX_NAME_BYTES} bytes")
    if "\0" in text or (not text.isprintable() and any("\ud800" <= letter <= "\udfff" for letter in text)):
        raise InvalidInput(f"{what} {text!r} has a NUL or half a character in it")
    return text


def _checked_priority(priority: object) -> int | None:
    if priority is not None and (
        isinstance(priority, bool) or not isinstance(priority, int) or abs(priority) > 1_000_000
    ):
        raise InvalidInput(f"a priority is a whole number between -1,000,000 and 1,000,000, not {priority!r}")
    return priority


def _checked_retry(retry: object) -> Retry:
    if not isinstance(retry, Retry):
        raise InvalidInput(f"retry is a Retry, as in retry=Retry(max_attempts=3), not {retry!r}")
    return retry


def checked_timeout(timeout: object) -> int:
    """Return a timeout in milliseconds; InvalidInput if it is none."""
    limit = seconds(timeout, "timeout")
    if not 0 < limit <= MAX_DELAY_S:
        raise InvalidInput(f"a timeout is more than 0 s and at most a hundred years, not {timeout!r}; None is none")
    return max(round(limit * 1000), 1)


def checked_delay(delay: object) -> int:
    """Return a delay in milliseconds; InvalidInput if it is none, or longer than a hundred years."""
    delay_s = seconds(delay, "delay")
    if delay_s > MAX_DELAY_S:
        raise InvalidInput(f"a delay is at most {MAX_DELAY_S:.0f} s, a hundred years, not {delay!r}")
    return max(round(delay_s * 1000), 0)


def _checked_executor(executor: str | None, name: str, *, is_async: bool) -> str:
    """Return where bodies run: an async one on the loop, a sync one in a thread, either in a process."""
    if executor is None:
        return LOOP if is_async else THREAD
    if executor not in EXECUTORS:
        raise InvalidInput(f"{name}: executor is one of {', '.join(map(repr, EXECUTORS))}, not {executor!r}")
    if executor == THREAD and is_async:
        raise InvalidInput(f"{name} is an async function: it runs on the loop; executor='thread' is for plain ones")
    return executor


def _checked_tags(tags: object) -> dict[str, str]:
    if not isinstance(tags, Mapping):
        raise InvalidInput(f"tags are texts by name, as in tags={{'customer': 'acme'}}, not {tags!r:.80}")
    tags = cast("Mapping[str, str]", tags)
    return {_checked(name, "tag"): _checked(value, "tag value") for name, value in tags.items()}


NO_OPTIONS = CallOptions()
