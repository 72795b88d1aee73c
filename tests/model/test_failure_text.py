"""Recording a failure never fails, however broken the exception is, and never takes more room than it may."""

import json
import sys

import pytest

from fanfold.model.codec import decode_text
from fanfold.worker.failures import MAX_MESSAGE, MAX_TRACEBACK, failure_text


def raised(error: BaseException) -> BaseException:
    """Return `error` with a traceback."""
    try:
        raise error  # noqa: TRY301 - it is raised to be caught
    except BaseException as caught:
        return caught


class Mute(Exception):
    def __str__(self) -> str:
        raise ValueError("no text")


class Liar(Exception):
    def __str__(self) -> str:
        return 5  # noqa: PLE0307 - so do some exceptions


class Endless(Exception):
    def __str__(self) -> str:
        return str(self)


class Faceless(Exception):
    def __repr__(self) -> str:
        raise RuntimeError

    __str__ = __repr__


def chain(length: int) -> Exception:
    error: Exception = ValueError("the first")
    for number in range(length):
        following = ValueError(f"number {number}")
        following.__cause__ = error
        error = following
    return error


BROKEN = [
    Mute(), Liar(), Endless(), Faceless(), ValueError("\ud800 and \udfff"), ValueError("a\0b\x01\x1b[31m"),
    ValueError("x" * (1 << 20)), ValueError("\ud800" * (1 << 18)), ValueError("\U0001f600" * (1 << 18)),
    ValueError("\0" * (1 << 18)), ExceptionGroup("several", [Mute(), ValueError("\ud800")]), chain(3000),
    SyntaxError("bad", ("f.py", 1, 2, "\ud800")), UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"),
    KeyError(Faceless()),
    type("Ünïcödé", (Exception,), {})("x"), KeyboardInterrupt(), SystemExit(3), OSError(2, "no", "\udc80"),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(BROKEN)))
@pytest.mark.parametrize("has_traceback", [True, False])
def test_every_failure_can_be_recorded(number: int, has_traceback: bool):  # noqa: FBT001 - a parameter
    error = raised(BROKEN[number]) if has_traceback else BROKEN[number]
    text = failure_text(error)
    record = json.loads(text.encode())
    assert record == decode_text(text)
    assert record["type"] == type(error).__name__
    assert "\0" not in record["message"] + record["traceback"]
    assert len(record["message"].encode()) <= MAX_MESSAGE
    assert len(record["traceback"].encode()) <= MAX_TRACEBACK == 64 << 10


@pytest.mark.parametrize("shift", range(5))
@pytest.mark.parametrize("letter", ["é", "€", "\U0001f600"])
def test_a_text_that_is_cut_within_a_letter_stays_within_its_limit(letter: str, shift: int):
    record = decode_text(failure_text(raised(ValueError(letter * 40_000 + "x" * shift))))
    assert MAX_MESSAGE - 8 < len(record["message"].encode()) <= MAX_MESSAGE
    assert MAX_TRACEBACK - 8 < len(record["traceback"].encode()) <= MAX_TRACEBACK


def test_of_a_long_traceback_the_end_is_kept_where_the_cause_stands():
    record = decode_text(failure_text(raised(ValueError("x" * (1 << 20) + " the cause"))))
    assert record["traceback"].startswith("... ")
    assert record["traceback"].rstrip().endswith("the cause")
    assert record["message"].endswith("the cause")


def test_the_record_says_what_was_raised_and_by_which_classes():
    record = decode_text(failure_text(raised(FileNotFoundError("gone"))))
    assert record["types"] == ["FileNotFoundError", "OSError", "Exception"]
    assert (record["type"], record["message"], record["attempts"]) == ("FileNotFoundError", "gone", 1)
    assert "Traceback (most recent call last)" in record["traceback"]
    assert "in raised" in record["traceback"]


def test_a_text_that_cannot_be_made_says_so():
    record = decode_text(failure_text(Mute()))
    assert record["message"] == "<the text of this Mute raised ValueError>"


def test_an_error_of_endless_recursion_is_recorded():
    def deeper() -> None:
        deeper()

    try:
        deeper()
    except RecursionError as error:
        record = decode_text(failure_text(error))
    assert record["type"] == "RecursionError"
    assert sys.getrecursionlimit() > 100
