"""When a failed attempt is tried again, and after how long. Pure: randomness is handed in.

Exceptions are matched by the qualified names of their classes and of those above them, so that a policy can be stored
with a run, and an attempt in another process needs to report names only. A module that is the program goes by the name
that it has when it is imported, so that a class is the same one wherever the policy is stored and looked at.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from fanfold.errors import (
    GiveUp,
    InvalidInput,
    KeyConflict,
    NotAllowed,
    NotFound,
    NotInRun,
    PayloadTooLarge,
    UnknownTask,
)
from fanfold.model.duration import MAX_DELAY_S, Duration, seconds

Kinds = tuple[type[BaseException] | str, ...]


def kind_name(kind: type[BaseException]) -> str:
    """Return the name that a class is matched by."""
    return f"{_module_name(str(kind.__module__))}.{kind.__qualname__}"


def _module_name(name: str) -> str:
    """Return what a module is called when it is imported: `__main__` and its stand-ins by their file."""
    if not _is_made_up(name):
        return name
    module = sys.modules.get(name)
    spec, file = getattr(module, "__spec__", None), getattr(module, "__file__", None)
    if spec is not None and not _is_made_up(spec.name):
        return spec.name  # of `python -m package.module`
    return name if file is None else Path(file).stem


def _is_made_up(name: str) -> bool:
    return name.startswith("__") and name.endswith("__")


def kinds_of(error: BaseException) -> list[str]:
    """Return the names of an exception's class and of those above it."""
    return [kind_name(kind) for kind in type(error).__mro__ if kind is not object]


# The same would happen again: trying it again helps nobody.
_NEVER = frozenset(
    kind_name(kind)
    for kind in (GiveUp, InvalidInput, KeyConflict, NotAllowed, NotFound, NotInRun, PayloadTooLarge, UnknownTask)
)


_MOST = f"{MAX_DELAY_S:.0f} s, a hundred years"


@dataclass(frozen=True, slots=True)
class Retry:
    """How often and when a failed attempt of a task is tried again.

    `max_attempts` counts the first one. Attempt n + 1 starts `delay` * `backoff` ** (n - 1) after the n-th failed, at
    most `max_delay`, moved by up to `jitter` (0.1: 10 %) either way. Durations are seconds or timedeltas. Tried again
    is what `retry_on` names and `give_up_on` does not, subclasses included; never `GiveUp`, nor what would happen
    again: `InvalidInput`, `PayloadTooLarge`, `UnknownTask`, `NotAllowed`, `NotInRun`, `KeyConflict`, `NotFound`, a
    result that cannot be stored. A body that raises `RetryAfter(delay)` sets the delay itself. A crash of the process
    is no failed attempt.

    ```python
    from fanfold import App, Retry

    app = App("retries", store="sqlite://")

    @app.task(retry=Retry(max_attempts=5, delay=0.01, retry_on=(OSError,)))
    async def fetch(url: str) -> str:
        return url
    ```
    """

    max_attempts: int = 3
    delay: Duration = 1.0
    backoff: float = 2.0
    max_delay: Duration = 60
    jitter: float = 0.1
    retry_on: Kinds = (Exception,)
    give_up_on: Kinds = ()

    def __post_init__(self) -> None:
        """Refuse what makes no sense, by name."""
        for name in ("delay", "max_delay"):
            if not 0 <= seconds(getattr(self, name), f"Retry({name}=)") <= MAX_DELAY_S:
                raise InvalidInput(f"Retry({name}=) is between 0 and {_MOST}, not {getattr(self, name)!r}")
        most = _number(self.max_attempts, "max_attempts")
        if most < 1 or most % 1:
            raise InvalidInput(f"Retry(max_attempts=) is a whole number from 1 on, not {self.max_attempts!r}")
        if not 1 <= _number(self.backoff, "backoff") < float("inf"):
            raise InvalidInput(f"Retry(backoff=) is 1 or more, not {self.backoff!r}")
        if not 0 <= _number(self.jitter, "jitter") <= 1:
            raise InvalidInput(f"Retry(jitter=) is between 0 and 1, not {self.jitter!r}")
        for name in ("retry_on", "give_up_on"):
            object.__setattr__(self, name, _kinds(getattr(self, name), name))

    def wants(self, attempt: int, kinds: Iterable[str]) -> bool:
        """Tell whether an attempt (from 1) that failed with an exception of these kinds is followed by another."""
        if attempt >= self.max_attempts:
            return False
        found = frozenset(kinds)
        return (
            not found & _NEVER
            and not any(_name(kind) in found for kind in self.give_up_on)
            and any(_name(kind) in found for kind in self.retry_on)
        )

    def delay_ms(self, attempt: int, chance: float) -> int:
        """Return how long to wait after an attempt (from 1) failed; `chance` is between -1 and 1."""
        most = seconds(self.max_delay, "max_delay")
        try:
            delay = min(seconds(self.delay, "delay") * self.backoff ** (attempt - 1), most)
        except OverflowError:
            delay = most if seconds(self.delay, "delay") else 0.0
        return max(round(delay * (1 + self.jitter * chance) * 1000), 0)

    def to_record(self) -> dict[str, Any]:
        """Return the policy as it is stored with a run."""
        return {
            "max_attempts": self.max_attempts,
            "delay": seconds(self.delay, "delay"),
            "backoff": self.backoff,
            "max_delay": seconds(self.max_delay, "max_delay"),
            "jitter": self.jitter,
            "retry_on": [_name(kind) for kind in self.retry_on],
            "give_up_on": [_name(kind) for kind in self.give_up_on],
        }


def asked_delay_ms(delay: object) -> int:
    """Return the delay of a RetryAfter; InvalidInput for what is none, or would be longer than anybody waits."""
    delay_s = seconds(delay, "RetryAfter(delay)")
    if delay_s > MAX_DELAY_S:
        raise InvalidInput(f"RetryAfter(delay) is at most {_MOST}, not {delay!r}")
    return round(max(delay_s, 0.0) * 1000)


def _name(kind: type[BaseException] | str) -> str:
    if not isinstance(kind, str):
        return kind_name(kind)
    module, dot, name = kind.partition(".")
    return f"{_module_name(module)}.{name}" if dot else kind


def _number(value: object, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:  # noqa: PLR0124
        raise InvalidInput(f"Retry({name}=) is a number, not {value!r}")
    return value


def _kinds(given: Any, name: str) -> Kinds:
    """Return exceptions as a tuple: one alone is taken as well, as `except` does."""
    kinds: Sequence[Any] = cast("Sequence[Any]", given) if isinstance(given, tuple | list) else (given,)
    for kind in kinds:
        if not isinstance(kind, str) and not (isinstance(kind, type) and issubclass(kind, BaseException)):
            raise InvalidInput(f"Retry({name}=) takes exception classes, not {kind!r}")
    return tuple(kinds)


ONCE = Retry(max_attempts=1)
