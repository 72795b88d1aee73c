"""The glossary is the authority on words, so its states are the code's states."""

import re

from fanfold.model import lifecycle
from tests.house.source import ROOT


def test_the_glossary_names_the_states_of_the_table():
    glossary = (ROOT / "docs" / "glossary.md").read_text()
    section = glossary.partition("## States")[2].partition("\n## ")[0]
    assert re.findall(r"^\| \*\*(\w+)\*\*", section, re.MULTILINE) == list(lifecycle.STATES)


def test_no_word_stands_twice_in_the_glossary():
    words = re.findall(r"\*\*(\w+)\*\*", (ROOT / "docs" / "glossary.md").read_text().partition("## What runs")[2])
    assert len(words) == len(set(words))
