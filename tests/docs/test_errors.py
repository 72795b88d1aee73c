"""The page of errors lists every exception, and only those that there are."""

import inspect
import re

import fanfold
from fanfold import errors
from tests.house.source import ROOT

PAGE = (ROOT / "docs" / "errors.md").read_text()


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
