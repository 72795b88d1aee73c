"""Loads the SQL files and fills their slots: the dialect's, and the guards from the lifecycle table.

A misspelt event or slot is an error at import. Nothing here talks to a database.
"""

from __future__ import annotations

import functools
import re
from importlib import resources

from fanfold.model import lifecycle
from fanfold.model.run import HELD
from fanfold.store.database import Dialect

FILES = ("statements.sql", "queries.sql")
_SLOT = re.compile(r"\{(\w+)(?:[: ] ?([^{}]*))?\}")
_ROWS = re.compile(r"\{rows: ([^{}]*)\}")


@functools.cache
def load(dialect: Dialect) -> dict[str, str]:
    """Return every statement by its name, ready for a database of this dialect."""
    folder = resources.files("fanfold.store")
    texts = [folder.joinpath(file).read_text(encoding="utf-8") for file in FILES]
    statements: dict[str, str] = {}
    for part in [part for text in texts for part in text.split("-- name: ")[1:]]:
        name, _, body = part.partition("\n")
        lines = [line for line in body.splitlines() if line.strip() and not line.startswith("--")]
        statements[name.strip()] = render("\n".join(lines), dialect)
    return statements


def render(text: str, dialect: Dialect) -> str:
    """Fill all slots of a statement or a migration."""
    while (rendered := _SLOT.sub(lambda match: _fill(match, dialect), text)) != text:
        text = rendered
    return _ROWS.sub(lambda match: dialect.rows.format(match[1]), text)


def _fill(match: re.Match[str], dialect: Dialect) -> str:
    slot, argument = match[1], match[2] or ""
    if slot == "rows":
        return match[0]
    simple = {
        "each": dialect.each.format(f":{argument}"),
        "int": dialect.integer_column.format(argument),
        "text": dialect.text_column.format(argument) if argument else dialect.text,
        "integer": dialect.integer,
        "id": dialect.id,
        "held": str(HELD),
        "lock": dialect.lock,
        "skip_locked": dialect.skip_locked,
    }
    return simple[slot] if slot in simple else _transition(slot, argument)


def _transition(slot: str, argument: str) -> str:
    if slot == "to":
        return f"state = '{lifecycle.target(argument)}'"
    if slot == "state":
        return f"'{lifecycle.target(argument)}'"
    if slot == "from":
        event, _, table = argument.partition(" ")
        # With one source `=`, never IN: SQLite uses a partial index for `=` only.
        sources = lifecycle.TRANSITIONS[event].sources
        tests = [f"{table}.state = '{source}'" for source in sources]
        return tests[0] if len(tests) == 1 else f"({' OR '.join(tests)})"
    if slot == "terminal":
        states = ", ".join(f"'{state}'" for state in lifecycle.TERMINAL)
        return f"{argument}.state IN ({states})"
    raise KeyError(f"unknown slot {{{slot}}} in statements.sql")
