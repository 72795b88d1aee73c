"""Tests wait for a state, with a limit, or move the clock; they never sleep.

`asyncio.sleep` is not looked at: in a workflow under test it is a durable timer, and it is what is being tested.
"""

import ast
from collections.abc import Iterator

import pytest

from tests.house.source import Source, sources, without_exceptions

# path -> reason
EXCEPTIONS: dict[str, str] = {}


def sleeps(source: Source) -> Iterator[str]:
    """No test calls time.sleep, under whatever name, with anything but 0."""
    modules = {"time"}
    functions: set[str] = set()
    for node in source.nodes:
        match node:
            case ast.Import(names=names):
                modules |= {alias.asname for alias in names if alias.name == "time" and alias.asname}
            case ast.ImportFrom(module="time", names=names):
                functions |= {alias.asname or alias.name for alias in names if alias.name == "sleep"}
            case _:
                pass
    for node in source.nodes:
        match node:
            case ast.Call(args=[ast.Constant(value=0)]):
                continue
            case ast.Call(func=ast.Attribute(value=ast.Name(id=owner), attr="sleep")) if owner in modules:
                yield source.at(node, "a test sleeps: wait for a state instead")
            case ast.Call(func=ast.Name(id=name)) if name in functions:
                yield source.at(node, "a test sleeps: wait for a state instead")
            case _:
                pass


def test_no_test_sleeps():
    found = [(source.path, offence) for source in sources("tests") for offence in sleeps(source)]
    assert without_exceptions(found, EXCEPTIONS) == []


@pytest.mark.parametrize(
    "text",
    [
        "import time\ntime.sleep(0.1)",
        "import time as t\nt.sleep(delay)",
        "from time import sleep\nsleep(1)",
        "from time import sleep as doze\ndef f():\n    doze(1)",
    ],
)
def test_a_sleep_is_found(text: str):
    assert len(list(sleeps(Source("tests/test_a.py", text)))) == 1


def test_a_durable_sleep_and_a_yield_are_left_alone():
    text = "import asyncio, time\nfrom fanfold import sleep\nawait asyncio.sleep(3)\nawait sleep(3)\ntime.sleep(0)"
    assert not list(sleeps(Source("tests/test_a.py", text)))


def test_an_exception_that_is_no_longer_needed_is_found():
    assert without_exceptions([("a.py", "a.py:1: sleeps")], {"a.py": "reason"}) == []
    assert without_exceptions([], {"a.py": "reason"}) == ["a.py: this exception is no longer needed"]
