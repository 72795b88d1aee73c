"""The transition table is the only place that names states; everything else imports them from it."""

import ast
import re
from collections.abc import Iterator

import pytest

from tests.house.source import PACKAGE, ROOT, Source, offences, sources

STATES = ("pending", "running", "waiting", "completed", "failed", "cancelled", "paused")
STATE_ROOM = f"{PACKAGE}/model/lifecycle.py"
SQL_FILES = sorted((ROOT / PACKAGE / "store").glob("*.sql"))

# path::word -> reason: words that are spelled like a state and mean something else
EXCEPTIONS: dict[str, str] = {}


def named_states(source: Source) -> Iterator[str]:
    """No whole string constant outside model/lifecycle.py is a state's name."""
    if source.is_in(STATE_ROOM):
        return
    for node in source.nodes:
        if isinstance(node, ast.Constant) and node.value in STATES and f"{source.path}::{node.value}" not in EXCEPTIONS:
            yield source.at(node, f"{node.value!r} is a state: take it from model/lifecycle.py")


def states_in_statements(path: str, sql: str) -> Iterator[str]:
    """Statements take states from slots, which are rendered from the table; comments may speak of them."""
    for number, line in enumerate(sql.splitlines(), start=1):
        for state in re.findall(rf"'({'|'.join(STATES)})'", line.partition("--")[0]):
            yield f"{path}:{number}: '{state}' stands in the SQL: use a slot"


def test_no_module_names_a_state():
    assert offences(named_states, sources(PACKAGE)) == []


def test_no_statement_names_a_state():
    assert len(SQL_FILES) == 2
    assert [found for file in SQL_FILES for found in states_in_statements(file.name, file.read_text())] == []


@pytest.mark.parametrize("state", STATES)
def test_a_state_named_elsewhere_is_found(state: str):
    text = f'def f(run):\n    return run.state == "{state}"\n'
    assert len(list(named_states(Source(f"{PACKAGE}/engine/engine.py", text)))) == 1
    assert not list(named_states(Source(STATE_ROOM, text)))
    assert not list(named_states(Source("a.py", f'x = "the run is {state}"\ny = run.{state}')))


def test_a_state_named_in_a_statement_is_found():
    sql = "-- 'failed' is fine here\nUPDATE runs SET state = 'failed' WHERE state = {from:fail}"
    assert list(states_in_statements("statements.sql", sql)) == [
        "statements.sql:2: 'failed' stands in the SQL: use a slot"
    ]
