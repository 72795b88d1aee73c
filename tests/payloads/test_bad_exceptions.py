"""Whatever a body raises is recorded, within its limits; a hundred good runs beside it are not harmed."""

import asyncio
import json
from typing import Any

import pytest

from fanfold import App
from fanfold.worker.failures import MAX_MESSAGE, MAX_TRACEBACK, failure_text
from tests.payloads.batch import run_with


class MuteText(Exception):
    def __str__(self) -> str:
        raise ValueError("no text")


class MuteRepr(Exception):
    def __repr__(self) -> str:
        raise ValueError("no repr")


class Leaving(Exception):
    def __str__(self) -> str:
        raise SystemExit(3)


class Cancelling(Exception):
    def __str__(self) -> str:
        raise asyncio.CancelledError


class Shapeless(SyntaxError):
    """The traceback module takes it apart, and fails."""

    offset = lineno = text = property(lambda self: 1 / 0)


class Closed(ExceptionGroup):
    @property
    def exceptions(self) -> Any:
        raise RuntimeError

    def derive(self, excs: Any) -> "Closed":
        return self


class Texts(str):
    """A text that lies about itself."""

    __slots__ = ()

    def replace(self, *args: Any) -> Any:
        raise RuntimeError

    def __len__(self) -> int:
        return 0


class OddText(Exception):
    def __str__(self) -> str:
        return Texts("odd\0text")


def caused() -> Exception:
    error = RuntimeError("the last")
    error.__cause__ = OSError(5, "the disk")
    error.__cause__.__context__ = KeyError("the first")
    error.add_note("a note \ud800")
    return error


def circular() -> Exception:
    error, other = ValueError("one"), ValueError("two")
    error.__cause__, other.__cause__ = other, error
    return error


def grown() -> Exception:
    error: Exception = ExceptionGroup("inner", [ValueError(f"leaf {n}") for n in range(1000)])
    for level in range(50):
        error = ExceptionGroup(f"level {level}", [error, KeyError("beside")])
    return error


# what is raised, its class, what is shown of it in the message, what in the traceback
RAISED: list[tuple[Any, str, str, str]] = [
    (MuteText, "MuteText", "<the text of this MuteText raised ValueError>", "in fail"),
    (lambda: MuteRepr("said"), "MuteRepr", "said", "in fail"),
    (lambda: ValueError(MuteRepr()), "ValueError", "", "in fail"),
    (lambda: KeyError(MuteRepr()), "KeyError", "<the text of this KeyError raised ValueError>", "in fail"),
    (Leaving, "Leaving", "raised SystemExit", "in fail"),
    (Cancelling, "Cancelling", "raised CancelledError", "in fail"),
    (lambda: ValueError("first" + "x" * 10_000_000 + " the end"), "ValueError", "first", "in fail"),
    (lambda: ValueError("x" * 10_000_000 + " the end"), "ValueError", "the end", "the end"),
    (lambda: ValueError("\ud800 and \0"), "ValueError", r"\ud800 and \x00", r"\ud800 and \x00"),
    (OddText, "OddText", r"odd\x00text", "in fail"),
    (lambda: Shapeless("bad"), "Shapeless", "", "in fail"),
    (lambda: ExceptionGroup("two", [ValueError("a leaf"), OSError(2, "another")]), "ExceptionGroup",
     "two (2 sub-exceptions): ValueError: a leaf; FileNotFoundError: [Errno 2] another", "another"),
    (lambda: ExceptionGroup("m", [MuteText(), ValueError("\ud800")]), "ExceptionGroup",
     r"MuteText: <the text of this MuteText raised ValueError>; ValueError: \ud800", "in fail"),
    (lambda: Closed("closed", [ValueError("hidden")]), "Closed", "closed", "in fail"),
    (grown, "ExceptionGroup", "ValueError: leaf 9, and more", "in fail"),
    (caused, "RuntimeError", "the last", "KeyError: 'the first'"),
    (caused, "RuntimeError", "the last", r"a note \ud800"),
    (circular, "ValueError", "one", "two"),
    (lambda: SystemExit(3), "SystemExit", "3", "in fail"),
    (lambda: UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"), "UnicodeDecodeError", "bad", "in fail"),
    (lambda: type("N" * 100_000, (Exception,), {})("long name"), "N" * 64 + "\n... ", "long name", "in fail"),
]  # fmt: skip
IDS = range(len(RAISED))


@pytest.mark.parametrize(("make_error", "kind", "message", "traceback"), RAISED, ids=IDS)
def test_a_body_may_raise_anything_and_harms_nobody_else(make_error: Any, kind: str, message: str, traceback: str):
    def make(app: App) -> Any:
        @app.task
        async def fail() -> int:
            raise make_error()

        return fail

    came, told = asyncio.run(run_with(make))
    assert came == "TaskFailed"
    assert f"failed: {kind}" in told
    assert message in told
    assert traceback in told


@pytest.mark.parametrize("make_error", [row[0] for row in RAISED], ids=IDS)
def test_the_record_of_an_exception_keeps_its_limits_and_can_be_stored_anywhere(make_error: Any):
    def fail() -> None:
        raise make_error()

    try:
        fail()
    except BaseException as error:
        text = failure_text(error, 3)
    record = json.loads(text.encode())
    assert record["attempts"] == 3
    assert len(record["message"].encode()) <= MAX_MESSAGE == 8 << 10
    assert len(record["traceback"].encode()) <= MAX_TRACEBACK == 64 << 10
    assert len(record["type"].encode()) <= 512
    assert "\0" not in json.dumps(record, ensure_ascii=False)


def test_of_a_long_message_the_beginning_and_the_end_are_kept_and_the_place_where_it_was_raised():
    def fail() -> None:
        raise ValueError("500 Server Error: " + "<html>" * (2 << 20) + " the cause")

    try:
        fail()
    except ValueError as error:
        record = json.loads(failure_text(error))
    assert record["message"].startswith("500 Server Error: <html>")
    assert record["message"].endswith("<html> the cause")
    assert "in fail" in record["traceback"]
    assert record["traceback"].rstrip().endswith("the cause")


def test_a_long_message_is_not_what_takes_the_time():
    """A record of ten megabytes costs no more than a few copies of it: no walk letter by letter."""
    error = ValueError("\ud800\0é" * 3_000_000)
    record = json.loads(failure_text(error))
    assert len(record["message"].encode()) <= MAX_MESSAGE
