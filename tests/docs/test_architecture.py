"""The picture of the floors is the contract in pyproject.toml, and every place that a document names is there."""

import re
import tomllib

import pytest

from tests.docs.documents import Document, documents
from tests.house.source import PACKAGE, ROOT

PLACE = re.compile(r"(?:src|tests|docs|examples|benchmarks|scripts)/[\w./-]+")


def floors() -> list[set[str]]:
    """Read the floors of the contract, from the top, as far as they are built."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = [set(re.findall(r"\w+", layer)) for layer in contracts[0]["layers"]]
    there = {path.stem for path in (ROOT / PACKAGE).iterdir()} - {"__main__"}  # which only starts the command
    return [layer & there for layer in layers if layer & there]


def test_the_picture_shows_the_floors():
    [picture] = [block.text for block in Document("ARCHITECTURE.md", (ROOT / "ARCHITECTURE.md").read_text()).blocks]
    shown = [set(re.findall(r"\w+", line.strip().split("  ")[0])) for line in picture.splitlines()]
    assert shown == floors()


@pytest.mark.parametrize("document", documents(), ids=lambda document: document.path)
def test_the_places_that_a_document_names_are_there(document: Document):
    named = [place for command in document.commands for place in PLACE.findall(command)]
    made = ("benchmarks/results",)  # by the command that the document speaks of
    assert [place for place in named if not place.startswith(made) and not (ROOT / place).exists()] == []
