"""Time and chance come in through one door each, so that a test or a replay can hold both."""

import ast
from collections.abc import Iterator

import pytest

from tests.house.source import PACKAGE, Source, offences, sources

CLOCK_ROOMS = (f"{PACKAGE}/model/clock.py", f"{PACKAGE}/model/ids.py")
CLOCK_MODULES = {"time", "random", "uuid", "secrets"}
CLOCK_CALLS = {
    ("datetime", "now"),
    ("datetime", "utcnow"),
    ("datetime", "today"),
    ("date", "today"),
    ("os", "urandom"),
    ("os", "getrandom"),
}

# path -> reason
EXCEPTIONS: dict[str, str] = {}


def clocks_outside_their_rooms(source: Source) -> Iterator[str]:
    """Only model/clock.py reads a clock, only model/ids.py draws numbers; types alone may be imported for checking."""
    if source.is_in(*CLOCK_ROOMS, *EXCEPTIONS):
        return
    for_types = {id(node) for block in source.nodes if is_type_checking(block) for node in ast.walk(block)}
    for node in source.nodes:
        if id(node) in for_types:
            continue
        match node:
            case ast.Import(names=names):
                modules = {alias.name.partition(".")[0] for alias in names} & CLOCK_MODULES
            case ast.ImportFrom(module=str(module), level=0):
                modules = {module} & CLOCK_MODULES
            case ast.Attribute(value=ast.Name(id=owner) | ast.Attribute(attr=owner), attr=name):
                modules = {f"{owner}.{name}"} if (owner, name) in CLOCK_CALLS else set()
            case _:
                continue
        for module in sorted(modules):
            yield source.at(node, f"{module} belongs in model/clock.py or model/ids.py")


def is_type_checking(node: ast.AST) -> bool:
    """Say whether this is an `if TYPE_CHECKING:` block."""
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def test_time_and_chance_stay_in_their_rooms():
    assert offences(clocks_outside_their_rooms, sources(PACKAGE)) == []


@pytest.mark.parametrize(
    "text",
    [
        "import time",
        "import asyncio, random",
        "import uuid as u",
        "from time import perf_counter",
        "from datetime import datetime\nx = datetime.now()",
        "import datetime\nx = datetime.datetime.now(datetime.UTC)",
        "import datetime\nx = datetime.date.today()",
        "import os\nx = os.urandom(8)",
        "def f():\n    import secrets",
    ],
)
def test_a_clock_outside_its_room_is_found(text: str):
    assert len(list(clocks_outside_their_rooms(Source(f"{PACKAGE}/engine/engine.py", text)))) == 1
    assert not list(clocks_outside_their_rooms(Source(f"{PACKAGE}/model/clock.py", text)))


@pytest.mark.parametrize(
    "text",
    [
        "import asyncio\nasync def f():\n    await asyncio.sleep(1)",
        "from datetime import datetime, timedelta",
        "from .time import x",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from uuid import UUID",
    ],
)
def test_what_reads_no_clock_is_left_alone(text: str):
    assert not list(clocks_outside_their_rooms(Source(f"{PACKAGE}/engine/engine.py", text)))
