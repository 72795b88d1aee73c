"""The page of errors lists every exception and only those that there are, and shows what the code really says."""

import builtins
import inspect
import logging
import re
from pathlib import Path

import pytest

import fanfold
from fanfold import errors
from tests.docs.documents import Document
from tests.docs.mishaps import MISHAPS, told
from tests.house.source import ROOT

PAGE = (ROOT / "docs" / "errors.md").read_text()
LEVELS = {"WARNING", "ERROR"}


def defined() -> dict[str, type[BaseException]]:
    """List what fanfold.errors defines."""
    return {
        name: value
        for name, value in vars(errors).items()
        if inspect.isclass(value) and issubclass(value, BaseException) and value.__module__ == errors.__name__
    }


def listed() -> list[str]:
    """List the first cells of the page's tables."""
    return re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)


def shown() -> list[str]:
    """List the messages on the page, each in one line again."""
    blocks = [block.text for block in Document("docs/errors.md", PAGE).blocks if block.info == "text"]
    return [in_one_line(message) for block in blocks for message in re.split(r"\n(?! )", block.rstrip())]


def in_one_line(text: str) -> str:
    return " ".join(text.split())


def test_the_page_lists_every_error_once():
    assert sorted(listed()) == sorted(defined().keys() - {"FanfoldError"})


def test_what_the_page_says_of_the_exports_holds():
    assert {name for name in defined() if not hasattr(fanfold, name)} == {"Evicted"}
    assert {name for name, kind in defined().items() if not issubclass(kind, errors.FanfoldError)} == {"Evicted"}


def test_the_attributes_that_the_page_names_are_there():
    failed = errors.TaskFailed("task", 7, {"type": "KeyError", "types": ["KeyError", "LookupError", "Exception"]})
    row = next(line for line in PAGE.splitlines() if line.startswith("| `TaskFailed`"))
    for name in re.findall(r"`\.(\w+)", row):
        assert hasattr(failed, name), name
    assert failed.caused_by(LookupError)
    assert failed.caused_by("LookupError")
    assert errors.KeyConflict("taken", 7).run_id == 7
    assert errors.StoreInUse("taken", 7).pid == 7
    assert errors.RetryAfter(3).delay == 3


@pytest.mark.parametrize("message", shown())
def test_a_message_on_the_page_is_of_an_error_that_there_is_or_of_the_log(message: str):
    kind = re.split(r"[: ]", message, maxsplit=1)[0]
    assert kind in defined() or kind in LEVELS or issubclass(getattr(builtins, kind), Exception)


said: set[str] = set()


@pytest.mark.parametrize("what", MISHAPS)
def test_what_goes_wrong_says_what_the_page_shows(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FANFOLD_STORE", raising=False)
    caplog.set_level(logging.WARNING, "fanfold")
    messages: list[str] = []
    try:
        MISHAPS[what]()
    except Exception as error:
        messages.append(f"{type(error).__name__}: {error}")
    messages += [f"{record.levelname} {record.name}: {record.getMessage()}" for record in caplog.records]
    found = {in_one_line(told(message, tmp_path)) for message in messages} & set(shown())
    assert found, messages
    said.update(found)


def test_every_message_on_the_page_was_said(request: pytest.FixtureRequest):
    selected = {item.name for item in request.session.items}
    if all(f"{test_what_goes_wrong_says_what_the_page_shows.__name__}[{what}]" in selected for what in MISHAPS):
        assert set(shown()) - said == set()
