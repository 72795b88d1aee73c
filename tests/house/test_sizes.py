"""A function fits on a screen, a file in a head."""

import ast
from collections.abc import Iterator

from tests.house.source import FOLDERS, Source, offences, sources

MAX_FUNCTION_LINES = 60
MAX_FILE_LINES = 400

# path, or path::function -> reason
EXCEPTIONS: dict[str, str] = {}


def long_functions(source: Source) -> Iterator[str]:
    """A function has at most 60 lines, decorators left out, docstring and nested functions included."""
    for node in source.nodes:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and f"{source.path}::{node.name}" not in EXCEPTIONS:
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > MAX_FUNCTION_LINES:
                yield source.at(node, f"{node.name} has {lines} lines, more than {MAX_FUNCTION_LINES}")


def long_files(source: Source) -> Iterator[str]:
    """A file has at most 400 lines."""
    lines = len(source.text.splitlines())
    if lines > MAX_FILE_LINES and source.path not in EXCEPTIONS:
        yield f"{source.path}:1: {lines} lines, more than {MAX_FILE_LINES}"


def test_every_function_fits_on_a_screen():
    assert offences(long_functions, sources(*FOLDERS)) == []


def test_every_file_fits_in_a_head():
    assert offences(long_files, sources(*FOLDERS)) == []


def test_every_exception_is_still_there():
    functions = {
        f"{source.path}::{node.name}"
        for source in sources(*FOLDERS)
        for node in source.nodes
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert set(EXCEPTIONS) <= functions | {source.path for source in sources(*FOLDERS)}


def test_a_function_of_61_lines_is_found_and_one_of_60_is_not():
    longest = "def f():\n" + "    x = 1\n" * 59
    assert not list(long_functions(Source("a.py", longest)))
    assert list(long_functions(Source("a.py", longest + "    x = 1\n"))) == ["a.py:1: f has 61 lines, more than 60"]
    assert list(
        long_functions(Source("a.py", "class C:\n    async " + longest.replace("\n", "\n    ") + "    x = 1\n"))
    )


def test_a_file_of_401_lines_is_found_and_one_of_400_is_not():
    assert not list(long_files(Source("a.py", "x = 1\n" * 400)))
    assert list(long_files(Source("a.py", "x = 1\n" * 401))) == ["a.py:1: 401 lines, more than 400"]
