"""A module is named for the one thing in it, so the names that fit anything are refused."""

import re
from collections.abc import Iterator

import pytest

from tests.house.source import FOLDERS, Source, offences, sources

SAYS_NOTHING = re.compile(r"_*(utils?|utilities|helpers?|common|base|managers?|misc|core|shared|lib)", re.ASCII)


def names_that_say_nothing(source: Source) -> Iterator[str]:
    """No folder or module is called utils, or one of its kin."""
    for name in source.path.removesuffix(".py").split("/"):
        if SAYS_NOTHING.fullmatch(name):
            yield f"{source.path}:1: {name!r} says nothing about what is in it"


def test_every_module_is_named_for_what_is_in_it():
    assert offences(names_that_say_nothing, sources(*FOLDERS)) == []


@pytest.mark.parametrize("path", ["src/fanfold/utils.py", "src/fanfold/helpers/x.py", "tests/_common.py", "a/base.py"])
def test_a_name_that_says_nothing_is_found(path: str):
    assert len(list(names_that_say_nothing(Source(path, "")))) == 1


def test_a_name_that_only_contains_such_a_word_is_fine():
    assert not list(names_that_say_nothing(Source("src/fanfold/store/database.py", "")))
