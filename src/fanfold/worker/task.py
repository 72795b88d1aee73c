"""Registered functions: what the decorators make of a function, and what calling it does."""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Callable, Coroutine, Mapping
from datetime import timedelta
from typing import Any, Generic, ParamSpec, Self, TypeVar, cast

from fanfold.errors import InvalidInput
from fanfold.model import run
from fanfold.model.codec import Signature, encode_text
from fanfold.worker.context import calling_context
from fanfold.worker.handle import Handle

P = ParamSpec("P")
R = TypeVar("R")

MAX_NAME_BYTES = 512
Duration = float | timedelta


def seconds(duration: object, what: str) -> float:
    """Return a duration in seconds; InvalidInput if it is none."""
    if isinstance(duration, timedelta):
        return duration.total_seconds()
    if isinstance(duration, bool) or not isinstance(duration, int | float) or duration != duration:  # noqa: PLR0124
        raise InvalidInput(f"{what} must be seconds or a timedelta, not {duration!r}")
    return float(duration)


class CallOptions:
    """What one call overrides."""

    __slots__ = ("delay_ms", "key", "priority", "queue", "tags")

    def __init__(
        self, key: str | None = None, queue: str | None = None, priority: int | None = None,
        delay: Duration = 0, tags: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        self.key = None if key is None else "k:" + _checked(key, "key")
        self.queue = None if queue is None else _checked(queue, "queue")
        self.priority = _checked_priority(priority)
        self.delay_ms = max(round(seconds(delay, "delay") * 1000), 0)
        self.tags = None if tags is None else encode_text(_checked_tags(tags))


class Task(Generic[P, R]):
    """A registered function. Inside a workflow, calling it starts a durable child and returns its `Handle`.

    `fn` is the plain function, typed as written. Made by `@app.task`.
    """

    kind = run.TASK

    def __init__(
        self, function: Callable[..., Any], *, name: str | None, queue: str, priority: int, max_payload: int
    ) -> None:
        _refuse_odd_functions(function)
        self.name = _checked(name or function.__name__, "task name")
        self.queue = _checked(queue, "queue")
        self.priority = _checked_priority(priority) or 0
        self.is_async = inspect.iscoroutinefunction(function)
        self._function = function
        self._max_payload = max_payload
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
        changed._function = function  # noqa: SLF001 - a copy of this very object
        return changed

    @property
    def function(self) -> Callable[..., Any]:
        """The plain function, untyped."""
        return self._function

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Handle[R]:
        """Start a durable child of the calling run. NotInRun outside of runs, InvalidInput for wrong arguments."""
        return calling_context(self).call(self, NO_OPTIONS, args, kwargs)

    def options(
        self, *, key: str | None = None, queue: str | None = None, priority: int | None = None, delay: Duration = 0,
        tags: Mapping[str, str] | None = None,
    ) -> ConfiguredTask[P, R]:  # fmt: skip
        """Return the same task with other settings for the calls made through it.

        `key` names the child among its parent's children of this task: the same key and input is the same run.
        `delay` (seconds or timedelta) is how long it waits before it may start; higher `priority` runs first.
        """
        return ConfiguredTask(self, CallOptions(key, queue, priority, delay, tags))

    def __set_name__(self, owner: type, name: str) -> None:
        raise InvalidInput(
            f"{owner.__name__}.{name} is a method; tasks are functions: move it out of the class, or make it static"
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"


class SyncTask(Task[P, R]):
    """A task whose function is a plain one; it runs in a thread."""

    @property
    def fn(self) -> Callable[P, R]:
        """The plain function."""
        return self._function


class AsyncTask(Task[P, R]):
    """A task whose function is a coroutine function; it runs on the event loop."""

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


def _checked_tags(tags: Mapping[str, str]) -> dict[str, str]:
    return {_checked(name, "tag"): _checked(value, "tag value") for name, value in tags.items()}


NO_OPTIONS = CallOptions()
