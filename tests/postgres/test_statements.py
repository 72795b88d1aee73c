"""Every statement stands once and works on both databases: it prepares, runs, and does the same to the same rows."""

import itertools
import re
from typing import Any

import pytest

from fanfold.engine.writers import drive
from fanfold.model import lifecycle
from fanfold.model.commands import Block
from fanfold.model.run import MOST_CRASHES, SUSPECT, WORKFLOW
from fanfold.store.postgres import positional
from tests.postgres.twins import POSTGRES, Postgres, TwinBench
from tests.store.bench import OWNER, QUEUE, new_run

LISTS = ("rows", "ids", "keys", "names")
# What a statement is told where 1 and "x" would find nothing.
PLAUSIBLE = {
    "now": 5_000_000, "owner": OWNER, "queue": QUEUE, "name": "work", "below": 100, "before": 1 << 62, "most": 50,
    "priority": 0, "doomed": 0, "after": 0, "parent_id": 1, "from_state": lifecycle.RUNNING,
    "state": lifecycle.COMPLETED, "suspect": SUSPECT, "most_crashes": MOST_CRASHES, "shows_waits": 1, "since": 0,
}  # fmt: skip


@pytest.fixture
def lived_in(bench: TwinBench) -> TwinBench:
    """A store with runs in every state."""
    root = bench.started(kind=WORKFLOW, key="k:root", options="{}")
    children = bench.children(root, 4)
    bench.children(root, 4, state=lifecycle.PENDING)
    bench.apply(new=[bench.timer(root, delay_ms) for delay_ms in (1, 2, 10_000)])
    bench.end(children[0])
    bench.end(children[1], state=lifecycle.FAILED)
    bench.apply(blocks=[Block(children[2].id, 1, "the code is another")])
    for crashes in range(4):
        bench.suspect(crashes=crashes)
    again, tagged = bench.started(), bench.started(tags='{"a":"b"}')
    bench.retry(again, delay_ms=3)
    bench.report(tagged, '{"done":1}')
    outside, inside = bench.started(), bench.started(kind=WORKFLOW)
    bench.children(outside, 2)
    bench.give_back(outside)
    bench.children(inside, 1)
    bench.evict(inside, 0)
    bench.claim(most=1)
    bench.cancel(inside)
    groups = [bench.group(root, **policy) for policy in ({}, {"failures": "collect", "concurrency": 1})]
    failing = bench.members(groups[0], 2)
    bench.end(failing[0], state=lifecycle.FAILED)
    bench.members(groups[1], 3, is_held=1)
    bench.claim(most=1)
    fold, page = bench.fold(groups[1]), bench.page_row(groups[1])
    bench.checkpoint(fold, 0)
    bench.apply(new=[page])
    bench.assert_equal()
    return bench


def arguments(name: str, bench: TwinBench) -> dict[str, Any]:
    """Return parameters for a statement: lists that speak of every run, and what it is likely to find otherwise."""
    text, names = POSTGRES[name]
    runs = bench.sql("SELECT id, root_id, parent_id, epoch, state, key, name FROM runs ORDER BY id")
    fresh = max(run["id"] for run in runs) + 1
    lists: dict[str, Any] = {
        "ids": [[run["id"]] for run in runs],
        "keys": [[run["parent_id"], run["key"], run["name"]] for run in runs],
        "names": [["work"]],
        "tags": [['"a":"b"']],
        "rows": [row_of(run, text) for run in runs],
    }
    if name == "insert_runs":
        rows = [new_run(fresh), new_run(fresh + 1, bench.rows[1]), new_run(fresh + 2, state=lifecycle.PENDING)]
        lists["rows"] = [[getattr(row, field) for field in row.__struct_fields__] for row in rows]
    elif name == "insert_cancels":
        lists["rows"] = [[fresh + place, run["root_id"], run["id"], 1] for place, run in enumerate(runs)]
    kinds = {parameter: re.search(rf"\${place}::(\w+)", text) for place, parameter in enumerate(names, start=1)}
    plain = {parameter: "x" if kind and kind[1] == "text" else 1 for parameter, kind in kinds.items()}
    return {parameter: (plain | PLAUSIBLE | lists)[parameter] for parameter in names}


def row_of(run: dict[str, Any], text: str) -> list[Any]:
    """Return a row with as many columns as the statement reads: the id, the epoch, then something of the right type."""
    texts = {int(place) for place in re.findall(r"\(e\.value ->> (\d+)\)(?!::)", text)}
    places = {int(place) for place in re.findall(r"\(e\.value ->> (\d+)\)", text)}
    values = [lifecycle.COMPLETED if place in texts else 1 for place in range(max(places, default=0) + 1)]
    values[:2] = [run["id"], run["epoch"]][: len(values)]
    return values


@pytest.mark.parametrize("name", sorted(POSTGRES))
def test_a_statement_prepares_on_postgresql(postgres: Postgres, name: str):
    types = [parameter.name for parameter in postgres.prepare(name).get_parameters()]
    assert set(types) <= {"text", "int8", "jsonb"}


@pytest.mark.parametrize("name", sorted(POSTGRES))
def test_a_statement_does_the_same_on_both_databases(lived_in: TwinBench, name: str):
    parameters = arguments(name, lived_in)
    drive(lived_in.twins.begin())
    lived_in.both(name, **parameters)
    lived_in.assert_equal()
    drive(lived_in.twins.rollback())


@pytest.mark.parametrize("name", sorted(name for name in POSTGRES if set(LISTS) & set(POSTGRES[name][1])))
def test_an_empty_list_is_taken_by_both_databases(lived_in: TwinBench, name: str):
    parameters = arguments(name, lived_in) | {parameter: [] for parameter in LISTS}
    before = lived_in.sql("SELECT * FROM runs")
    drive(lived_in.twins.begin())
    assert lived_in.both(name, **{key: parameters[key] for key in POSTGRES[name][1]}) in (0, "[]")
    assert lived_in.sql("SELECT * FROM runs") == before
    drive(lived_in.twins.rollback())


@pytest.mark.parametrize(
    "text", ['"', "\\", "a\nb\tc\x7f", "%s :name $1 {int:0}", "ÄäßéЖ日本🧵", "\u2028", "[1]", "null", ""]
)
def test_text_comes_back_as_it_was(bench: TwinBench, text: str):
    run = bench.started(key=text, name=text, input=text, tags=text, digest=-(1 << 62), state=lifecycle.PENDING)
    (claimed,) = bench.claim(text).claimed
    assert (claimed.key, claimed.name, claimed.input, claimed.tags) == (text, text, text, text)
    assert drive(bench.queries.find_key(0, text, text)) == run.id
    assert drive(bench.queries.digest(run.id)) == -(1 << 62)


def test_keys_are_paged_in_the_same_order_on_both_databases(bench: TwinBench):
    parent = bench.started()
    keys = ["", " ", "A", "B", "_", "a", "a ", "aB", "ab", "z", "É", "é", "日", "🧵", "-1", "10", "9"]
    bench.apply(new=[bench.run(parent, key=key) for key in keys])
    found = drive(bench.queries.children(parent.id, most=10))
    found += drive(bench.queries.children(parent.id, found[-1].key, found[-1].name, most=10))
    # By bytes: neither database may take a locale's order.
    assert [child.key for child in found] == sorted(keys)


@pytest.mark.parametrize("name", sorted(POSTGRES))
def test_a_select_in_parentheses_has_a_name(name: str):
    """PostgreSQL before 16 wants one."""
    text = POSTGRES[name][0]
    for start in (match.end() for match in re.finditer(r"\bFROM \(", text)):
        depth = itertools.accumulate((letter == "(") - (letter == ")") for letter in text[start:])
        end = start + list(depth).index(-1) + 1
        assert re.match(r" [a-z]+\b", text[end:]), f"a name is missing after: {text[:end]}"


def test_every_text_compares_by_bytes(postgres: Postgres):
    texts = postgres.read(
        "SELECT attrelid::regclass::text AS table, attname, collname FROM pg_attribute "
        "JOIN pg_collation c ON c.oid = attcollation WHERE attrelid IN (SELECT oid FROM pg_class "
        "WHERE relnamespace = 'public'::regnamespace AND relkind = 'r')"
    )
    assert len(texts) > 10
    assert [column for column in texts if column["collname"] != "C"] == []


def test_names_become_places_in_the_order_of_their_first_use():
    text, names = positional("SELECT 'x:1', :b, (:a)::int, :b FROM f(:rows::jsonb) WHERE name = :name")
    assert names == ("b", "a", "rows", "name")
    assert text == ("SELECT 'x:1', $1::bigint, ($2::bigint)::int, $1::bigint FROM f($3::jsonb) WHERE name = $4::text")
