"""Every SQL statement has a name that the store uses, and a line that says why it is there."""

import ast
from collections.abc import Iterator
from itertools import pairwise

from tests.house.source import PACKAGE, ROOT, Source, sources

STORE = f"{PACKAGE}/store"
SQL_FILES = sorted((ROOT / STORE).glob("*.sql"))
NAME = "-- name:"


def named_statements(sql: str) -> list[tuple[str, int, list[str]]]:
    """Cut the file at its `-- name:` lines into (name, line number, lines that follow)."""
    lines = sql.splitlines()
    heads = [number for number, line in enumerate(lines) if line.startswith(NAME)]
    pieces = pairwise([*heads, len(lines)])
    return [(lines[head].removeprefix(NAME).strip(), head + 1, lines[head + 1 : end]) for head, end in pieces]


def faulty_statements(sql: str, used: set[str], file: str = "statements.sql") -> Iterator[str]:
    """A statement's name is unique and used, its first line is a comment that says why, and SQL follows."""
    seen: set[str] = set()
    for name, number, lines in named_statements(sql):
        where = f"{file}:{number}: {name}"
        if name in seen:
            yield f"{where} stands here twice"
        if name not in used:
            yield f"{where} is used nowhere in the store"
        if not lines or not lines[0].startswith("--") or not lines[0].strip("- "):
            yield f"{where} has no line that says why"
        if not any(line.strip() and not line.lstrip().startswith("--") for line in lines):
            yield f"{where} has no SQL"
        seen.add(name)


def names_used(source: Source) -> Iterator[str]:
    """List every name, attribute, keyword and whole string of a file: a statement is used through one of these."""
    for node in source.nodes:
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.Constant(value=str(name)):
                yield name
            case _:
                pass


def test_every_statement_has_a_use_and_a_why():
    used = {name for source in sources(STORE) for name in names_used(source)}
    assert len(SQL_FILES) == 2
    assert [fault for file in SQL_FILES for fault in faulty_statements(file.read_text(), used, file.name)] == []
    names = [name for file in SQL_FILES for name, _, _ in named_statements(file.read_text())]
    assert len(names) == len(set(names))


def test_a_statement_that_is_in_order_is_left_alone():
    sql = "-- The statements.\n\n-- name: claim\n-- `=` and not IN: IN skips the partial index.\nSELECT 1;\n"
    assert not list(faulty_statements(sql, {"claim"}))


def test_faulty_statements_are_found():
    sql = "-- name: a\nSELECT 1\n\n-- name: b\n-- why\n\n-- name: c\n--\nSELECT 1\n-- name: a\n-- why\nSELECT 2"
    assert list(faulty_statements(sql, {"a", "b"})) == [
        "statements.sql:1: a has no line that says why",
        "statements.sql:4: b has no SQL",
        "statements.sql:7: c is used nowhere in the store",
        "statements.sql:7: c has no line that says why",
        "statements.sql:10: a stands here twice",
    ]


def test_a_use_is_code_and_not_a_comment():
    source = Source("store.py", "# claim\nsql.spawn(rows)\nrun('complete')\n")
    assert {"spawn", "complete"} <= set(names_used(source))
    assert "claim" not in set(names_used(source))
