"""Groups, as user code sees them: awaited, iterated over, folded; and `open_group`, to which members are added."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Generator, Mapping
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Literal, ParamSpec, Self, TypeVar, cast, overload

from fanfold.errors import InvalidInput, NotAllowed
from fanfold.model.error_digest import Summary
from fanfold.model.groups import COLLECT, RAISE, Policy
from fanfold.worker.context import current
from fanfold.worker.handle import Handle
from fanfold.worker.outcome import Outcome

if TYPE_CHECKING:
    from fanfold.worker.feeds import Feed

A = TypeVar("A")
P = ParamSpec("P")
R = TypeVar("R")
V = TypeVar("V")


class Owning:
    """What the run that owns a group does for it; a workflow and a task do it each in its way."""

    def spawn(self, feed: Feed, task: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """Add a member."""
        raise NotImplementedError

    def close(self, feed: Feed) -> None:
        """Let the owner add no more."""
        raise NotImplementedError

    def fold(self, group: Group[Any, Any], feed: Feed, step: Callable[[Any, Any], Any], initial: Any) -> Handle[Any]:
        """Start a fold."""
        raise NotImplementedError

    def page(self, group: Group[Any, Any], feed: Feed, after: int) -> asyncio.Future[tuple[list[Outcome[Any]], int]]:
        """Return the next outcomes behind a place, and the place of the last; none if there are no more."""
        raise NotImplementedError

    def on_awaited(self, handle: Handle[Any]) -> None:
        """Take note that somebody waits."""

    def block(self, handle: Handle[Any], timeout_s: float | None) -> None:
        """Wait in the calling thread, where that is possible."""


class Group(Handle[V], Generic[V, R]):
    """Durable children that belong together, from `task.map`, `task.starmap` or `open_group`.

    Awaited, it is the list of their results in the order of the items (with failures="collect" of their `Outcome`s);
    GroupFailed if its policy ended it. `async for` gives Outcomes as members end; `fold` reduces their results to one
    value. Whichever comes first closes the group for its owner: members may still add members, until the last has
    ended. Outcomes of siblings, which have no place among the items, come last.

    `summary` says how many members completed and failed, and of what, once the group has ended; printed, it is a
    sentence.
    """

    __slots__ = ("_feed", "_owning")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, feed: Feed, number: int, on_cancel: Callable[[int], None],
        owning: Owning,
    ) -> None:  # fmt: skip
        group = feed.members.group
        super().__init__(loop, group.id, group.name, number, on_cancel, lambda _output: cast("V", feed.values()))
        self._feed = feed
        self._owning = owning

    # Reading ---------------------------------------------------------------------------------------------------------

    def __await__(self) -> Generator[Any, None, V]:
        """Close the group, and wait until all members have ended."""
        self._feed.read_as_list()
        self._close()
        return super().__await__()

    def add_done_callback(self, fn: Callable[[Any], object], /, *, context: Any = None) -> None:
        """Take note that somebody waits: this is how `await`, `gather` and `wait` begin."""
        self._feed.read_as_list()
        self._close()
        super().add_done_callback(fn, context=context)
        if not self.done():
            self._owning.on_awaited(self)

    def __aiter__(self) -> AsyncIterator[Outcome[R]]:
        """Iterate over the members' Outcomes as they end, from the first; at the end GroupFailed if it failed."""
        self._feed.read_by("iterates over")
        self._close()
        return _Outcomes(self, partial(self._owning.page, self, self._feed))

    def fold(self, step: Callable[[A, R], A], initial: A) -> Handle[A]:
        """Return a handle of what `step` makes of all results, one after the other, beginning with `initial`.

        `step(value, result)` is a plain function, called once for each member that completed, in the order of their
        ends; members that failed are in `summary` alone. The value is recorded ever so often, as JSON of at most 1 MiB,
        with the place of the last member in it: after a crash the fold goes on from there, and each member is counted
        once. Its type is what `step` is annotated to return, else that of `initial`; a value of another type fails the
        fold with InvalidInput. GroupFailed if the group's policy ends it.
        """
        self._feed.may_be_read_by("folds")
        handle = self._owning.fold(self, self._feed, step, initial)
        self._feed.read_by("folds")
        self._close()
        return handle

    @property
    def summary(self) -> Summary:
        """How the group ended; NotAllowed before, when `status()` tells how it stands."""
        summary = self._feed.summary
        if summary is None:
            raise NotAllowed("a group's summary is known once it has ended: await it, or its fold, first")
        return summary

    def _block(self, timeout_s: float | None) -> None:
        self._close()
        self._owning.block(self, timeout_s)

    def cancel(self, msg: Any | None = None) -> bool:
        """End the handle at once, and ask the members to cancel; False if it was done."""
        if not super().cancel(msg):
            return False
        self._feed.members.close()
        return True

    # Adding ----------------------------------------------------------------------------------------------------------

    def spawn(self, task: Callable[P, Handle[Any]], /, *args: P.args, **kwargs: P.kwargs) -> None:
        """Add a member: a durable child that calls `task`, a task or `task.options(key=...)`. Returns nothing.

        NotAllowed once the group is awaited, iterated over or folded.
        """
        if self.done() and not self.cancelled() and (error := self.exception()) is not None:
            raise error
        if not self._feed.members.is_open or self.done():
            raise NotAllowed(
                "this group is closed: awaiting, iterating or folding it closes it for its owner; members can still "
                "add members with current().group.spawn"
            )
        self._owning.spawn(self._feed, task, args, kwargs)

    def _close(self) -> None:
        if self._feed.members.items is None and self._feed.members.is_open:
            self._owning.close(self._feed)

    async def __aenter__(self) -> Self:
        """Return the group."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait until all members have ended; GroupFailed if the policy ended the group. An error cancels it."""
        if error is not None:
            self.cancel()
        elif not self.done():
            self._feed.await_end()
            try:
                await self
            finally:
                self._feed.is_end_awaited = False
        elif not self.cancelled():
            self.result()

    def __enter__(self) -> Self:
        """Return the group; in sync tasks."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait until all members have ended, in sync tasks; an error cancels them."""
        if error is not None:
            self.cancel()
            return
        if not self.done():
            self._feed.await_end()
        self.result()


class _Outcomes(Generic[R]):
    """One pass over the outcomes of a group."""

    def __init__(
        self, group: Handle[Any], page: Callable[[int], asyncio.Future[tuple[list[Outcome[R]], int]]]
    ) -> None:  # fmt: skip
        self._group = group
        self._page = page
        self._read: list[Outcome[R]] = []  # and not handed out yet, the next one last
        self._upto = 0

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Outcome[R]:
        if not self._read:
            found, self._upto = await self._page(self._upto)
            if not found:
                group = self._group
                if group.done() and not group.cancelled() and (error := group.exception()) is not None:
                    raise error
                raise StopAsyncIteration
            self._read = found[::-1]
        return self._read.pop()


@overload
def open_group(
    *, failures: Literal["raise"] = "raise", concurrency: int | None = None, keep_results: bool = True
) -> Group[list[Any], Any]: ...
@overload
def open_group(
    *, failures: Literal["collect"], max_failures: int | str | None = None, concurrency: int | None = None,
    keep_results: bool = True,
) -> Group[list[Outcome[Any]], Any]: ...  # fmt: skip


def open_group(
    *, failures: str = RAISE, max_failures: int | str | None = None, concurrency: int | None = None,
    keep_results: bool = True,
) -> Group[Any, Any]:  # fmt: skip
    """Open a group to which members are added with `group.spawn`; in workflows and tasks.

    ```python
    from fanfold import App, open_group

    app = App("groups", store="sqlite://")

    @app.task
    async def size(name: str) -> int:
        return len(name)

    @app.workflow
    async def total(names: list[str]) -> int:
        async with open_group(failures="collect") as group:
            for name in names:
                group.spawn(size, name)
            return sum([outcome.value or 0 async for outcome in group])

    assert app.run(total, ["a", "bc"]) == 3
    ```

    `failures="raise"`: the first member that fails cancels the rest, and the group raises GroupFailed. "collect": all
    run; `max_failures` (a number, or a percentage as "1%" once the number of members is known) is how many may fail.
    `concurrency` bounds how many run at once. `keep_results=False` drops results that a fold has taken in.
    """
    policy = checked_policy(failures, max_failures, concurrency, keep_results=keep_results, is_open=True)
    return current().open_group(policy)


def checked_policy(
    failures: object, max_failures: object, concurrency: object, *, keep_results: object, is_open: bool = False
) -> Policy:
    """Return a group's policy; InvalidInput for what is none."""
    if failures not in (RAISE, COLLECT):
        raise InvalidInput(f'failures is "raise" or "collect", not {failures!r}')
    if max_failures is not None and failures == RAISE:
        raise InvalidInput('max_failures goes with failures="collect"; with "raise" the first failure ends the group')
    if concurrency is not None and (
        isinstance(concurrency, bool) or not isinstance(concurrency, int) or concurrency < 1
    ):
        raise InvalidInput(f"concurrency is a whole number from 1, not {concurrency!r}")
    if not isinstance(keep_results, bool):
        raise InvalidInput(f"keep_results is True or False, not {keep_results!r}")
    most, percent = _most(max_failures)
    return Policy(str(failures), most, percent, concurrency, keep_results, is_open)


def _most(max_failures: object) -> tuple[int | None, float | None]:
    """Return the number, or the percentage, of members that may fail."""
    if max_failures is None:
        return None, None
    if isinstance(max_failures, int) and not isinstance(max_failures, bool) and max_failures >= 0:
        return max_failures, None
    if isinstance(max_failures, str) and max_failures.endswith("%"):
        try:
            percent = float(max_failures[:-1])
        except ValueError:
            percent = -1.0
        if 0 <= percent <= 100:
            return None, percent
    raise InvalidInput(f'max_failures is a whole number from 0, or a percentage as "1%", not {max_failures!r}')
