"""When an attempt is followed by another, and after how long: a pure function of the policy, the attempt and chance."""

import json
import sys
from datetime import timedelta
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
from fanfold.model.duration import MAX_DELAY_S
from fanfold.model.retry import ONCE, Retry, asked_delay_ms, kind_name, kinds_of

NEVER = (GiveUp, InvalidInput, KeyConflict, NotAllowed, NotFound, NotInRun, PayloadTooLarge, UnknownTask)


class Remote(Exception):
    class Busy(ConnectionError):
        """Its qualified name has a dot."""


class Hopeless(GiveUp):
    """A subclass of what is never tried again."""


ERRORS = st.sampled_from([
    Exception, OSError, ConnectionError, ConnectionResetError, ValueError, KeyError, LookupError, UnicodeDecodeError,
    ZeroDivisionError, Remote, Remote.Busy, Hopeless, KeyboardInterrupt, SystemExit, ExceptionGroup, *NEVER,
])  # fmt: skip
KINDS = st.lists(ERRORS | ERRORS.map(kind_name), max_size=4).map(tuple)
SECONDS = st.floats(0, 1e9, allow_subnormal=False) | st.integers(0, 10**9)
DURATIONS = SECONDS | st.timedeltas(timedelta(0), timedelta(days=10_000))
ATTEMPTS = st.integers(1, 5_000)
CHANCES = st.floats(-1, 1)
POLICIES = st.builds(
    Retry, max_attempts=st.integers(1, 10_000), delay=DURATIONS, backoff=st.floats(1, 1e6) | st.integers(1, 10),
    max_delay=DURATIONS, jitter=st.floats(0, 1), retry_on=KINDS, give_up_on=KINDS,
)  # fmt: skip


def in_seconds(duration: Any) -> float:
    return duration.total_seconds() if isinstance(duration, timedelta) else duration


def raised(kind: type[BaseException]) -> BaseException:
    """Return an exception of this very class, whatever its constructor wants."""
    return kind.__new__(kind, "", [ValueError()]) if issubclass(kind, BaseExceptionGroup) else kind.__new__(kind)


def named(kinds: Any) -> tuple[type[BaseException], ...]:
    """Return the classes that a policy names, by class or by name."""
    classes = {kind_name(kind): kind for kind in (*NEVER, *_all_below(BaseException))}
    return tuple(classes[kind] if isinstance(kind, str) else kind for kind in kinds)


def _all_below(kind: type[BaseException]) -> list[type[BaseException]]:
    return [kind, *(below for child in kind.__subclasses__() for below in _all_below(child))]


# Whether -------------------------------------------------------------------------------------------------------------


@given(POLICIES, ATTEMPTS, ERRORS)
def test_tried_again_is_what_an_except_clause_with_these_classes_would_catch(policy: Retry, attempt: int, kind):
    wanted = (
        attempt < policy.max_attempts
        and issubclass(kind, named(policy.retry_on))
        and not issubclass(kind, (*NEVER, *named(policy.give_up_on)))
    )
    assert policy.wants(attempt, kinds_of(raised(kind))) is wanted


@given(POLICIES, ERRORS)
def test_no_run_makes_more_attempts_than_its_policy_allows(policy: Retry, kind):
    kinds = kinds_of(raised(kind))
    made = 1
    while made <= 10_000 and policy.wants(made, kinds):
        made += 1
    assert made in {1, policy.max_attempts}


@pytest.mark.parametrize("kind", [*NEVER, Hopeless])
def test_what_would_happen_again_is_never_tried_again(kind: type[BaseException]):
    assert not Retry(max_attempts=9, retry_on=(BaseException, kind)).wants(1, kinds_of(raised(kind)))


def test_by_default_every_exception_is_tried_again_twice_but_no_way_out_of_the_process():
    assert [Retry().wants(attempt, kinds_of(ValueError())) for attempt in (1, 2, 3, 4)] == [True, True, False, False]
    assert not any(Retry().wants(1, kinds_of(error)) for error in (KeyboardInterrupt(), SystemExit()))
    assert not ONCE.wants(1, kinds_of(ValueError()))


def test_what_is_given_up_on_wins_over_what_is_retried_on():
    policy = Retry(retry_on=(ConnectionError,), give_up_on=(OSError,))
    assert not policy.wants(1, kinds_of(ConnectionResetError()))


def test_a_class_alone_is_taken_as_a_tuple_of_one():
    assert Retry(retry_on=OSError, give_up_on=[KeyError]) == Retry(retry_on=(OSError,), give_up_on=(KeyError,))
    assert Retry(retry_on="builtins.OSError").wants(1, kinds_of(FileNotFoundError()))


def test_a_class_is_known_by_its_module_and_its_qualified_name():
    assert kinds_of(Remote.Busy()) == [
        f"{__name__}.Remote.Busy", "builtins.ConnectionError", "builtins.OSError", "builtins.Exception",
        "builtins.BaseException",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "spec", "file", "known"),
    [
        ("__main__", None, "/srv/shop.py", "shop"),  # python shop.py
        ("__mp_main__", "__mp_main__", "/srv/shop.py", "shop"),  # the same in a process of the pool
        ("__main__", None, "/srv/shop", "shop"),
        ("__main__", "shop.orders", "/srv/shop/orders.py", "shop.orders"),  # python -m shop.orders
        ("__main__", "shop.__main__", "/srv/shop/__main__.py", "shop.__main__"),  # python -m shop
        ("__main__", "__main__", "/srv/shop/__main__.py", "__main__"),  # python shop/
        ("__json__", "__json__", "/srv/json.py", "json"),  # fanfold run json.py
        ("__main__", None, None, "__main__"),  # typed in
        ("shop.orders", "shop.orders", "/srv/shop/orders.py", "shop.orders"),
    ],
)
def test_a_class_of_the_program_is_known_by_what_its_module_is_called_when_it_is_imported(
    name: str, spec: str | None, file: str | None, known: str, monkeypatch: pytest.MonkeyPatch
):
    module = ModuleType(name)
    module.__spec__ = None if spec is None else ModuleSpec(spec, None)
    if file is not None:
        module.__file__ = file
    monkeypatch.setitem(sys.modules, name, module)
    own = type("OutOfStock", (Exception,), {"__module__": name})
    assert kind_name(own) == f"{known}.OutOfStock"
    for policy in (Retry(retry_on=(own,)), Retry(retry_on=f"{name}.OutOfStock"), Retry(retry_on=f"{known}.OutOfStock")):
        assert policy.to_record()["retry_on"] == [f"{known}.OutOfStock"]
        assert policy.wants(1, kinds_of(own()))


@given(POLICIES, ATTEMPTS, ERRORS, CHANCES)
def test_a_policy_that_was_stored_decides_as_before(policy: Retry, attempt: int, kind, chance: float):
    again = Retry(**json.loads(json.dumps(policy.to_record())))
    kinds = kinds_of(raised(kind))
    assert again.wants(attempt, kinds) is policy.wants(attempt, kinds)
    assert again.delay_ms(attempt, chance) == policy.delay_ms(attempt, chance)
    assert again.to_record() == policy.to_record()


# When ----------------------------------------------------------------------------------------------------------------


@given(POLICIES, ATTEMPTS, CHANCES)
def test_a_delay_stays_within_its_jitter_of_the_most_and_is_never_negative(policy: Retry, attempt: int, chance: float):
    delay_ms = policy.delay_ms(attempt, chance)
    assert isinstance(delay_ms, int)
    assert 0 <= delay_ms <= in_seconds(policy.max_delay) * 1000 * (1 + policy.jitter) * (1 + 1e-12) + 1


@given(POLICIES, ATTEMPTS)
def test_without_chance_delays_grow_up_to_the_most(policy: Retry, attempt: int):
    one, two = policy.delay_ms(attempt, 0), policy.delay_ms(attempt + 1, 0)
    assert one <= two <= round(in_seconds(policy.max_delay) * 1000)


@given(POLICIES, ATTEMPTS, CHANCES, CHANCES)
def test_a_greater_chance_never_shortens_a_delay(policy: Retry, attempt: int, one: float, two: float):
    low, high = sorted((one, two))
    assert policy.delay_ms(attempt, low) <= policy.delay_ms(attempt, high)


@given(POLICIES, ATTEMPTS, CHANCES)
def test_a_policy_without_a_delay_has_none_after_any_attempt(policy: Retry, attempt: int, chance: float):
    eager = Retry(delay=0, backoff=policy.backoff, max_delay=policy.max_delay, jitter=policy.jitter)
    assert eager.delay_ms(attempt, chance) == 0


@given(st.integers(0, 10**6), st.integers(1, 20))
def test_the_delay_after_the_nth_attempt_is_what_is_documented(delay_ms: int, attempt: int):
    policy = Retry(delay=timedelta(milliseconds=delay_ms), backoff=2, max_delay=MAX_DELAY_S, jitter=0)
    assert policy.delay_ms(attempt, 1) == delay_ms * 2 ** (attempt - 1)


def test_the_default_delays_are_a_second_doubled_up_to_a_minute():
    delays = [Retry().delay_ms(attempt, 0) for attempt in range(1, 9)]
    assert delays == [1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000]
    assert (Retry().delay_ms(1, 1), Retry().delay_ms(1, -1)) == (1100, 900)


@pytest.mark.parametrize("attempt", [1_000, 1_100, 100_000, 1 << 40])
def test_a_delay_is_the_most_after_more_attempts_than_a_float_can_count(attempt: int):
    assert Retry(delay=0.5, max_delay=30, jitter=0).delay_ms(attempt, 0) == 30_000


@pytest.mark.parametrize(
    ("delay", "delay_ms"),
    [
        (2.5, 2_500), (timedelta(minutes=1), 60_000), (0, 0), (-5, 0), (-float("inf"), 0), (timedelta(days=-1), 0),
        (MAX_DELAY_S, round(MAX_DELAY_S * 1000)),
    ],
)  # fmt: skip
def test_a_delay_that_a_body_asks_for_is_taken_as_it_is_and_never_negative(delay: Any, delay_ms: int):
    assert asked_delay_ms(delay) == delay_ms


# What makes no sense -------------------------------------------------------------------------------------------------

NAN, INFINITE = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("max_attempts", [0, -1, 1.5, True, None, "3", NAN, INFINITE]),
        ("delay", [-1, -0.001, timedelta(seconds=-1), True, None, "1", NAN, INFINITE, 1e100, MAX_DELAY_S + 1]),
        ("max_delay", [-1, timedelta(days=-1), False, None, NAN, INFINITE, 1e200, timedelta.max]),
        ("backoff", [0, 0.99, -2, True, None, "2", NAN, INFINITE]),
        ("jitter", [-0.1, 1.1, True, None, NAN, INFINITE]),
        ("retry_on", [None, 5, (5,), (OSError, None), int, (OSError(),), object]),
        ("give_up_on", [None, (int,), [ValueError()]]),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused_by_its_name(name: str, values: list[Any]):
    for value in values:
        with pytest.raises(InvalidInput, match=rf"Retry\({name}=\)"):
            Retry(**{name: value})


@pytest.mark.parametrize("name", ["delay", "max_delay"])
def test_a_duration_beyond_all_floats_is_refused_by_its_name(name: str):
    with pytest.raises(InvalidInput, match=rf"Retry\({name}=\)"):
        Retry(**{name: 10**400})


@pytest.mark.parametrize("delay", [INFINITE, NAN, 1e30, 10**400, MAX_DELAY_S + 1, timedelta.max, "5", None, True])
def test_a_delay_that_a_body_cannot_ask_for_is_refused(delay: Any):
    with pytest.raises(InvalidInput, match=r"RetryAfter\(delay\)"):
        asked_delay_ms(delay)


@given(POLICIES)
def test_a_policy_is_a_value(policy: Retry):
    again = Retry(**{name: getattr(policy, name) for name in policy.to_record()})
    assert (again, hash(again)) == (policy, hash(policy))
