"""Every statement prepares, and the hot ones go through the index that was made for them.

`runs` may hold millions of rows: a plan that scans it is a fault even where the tests are fast.
"""

import re

import pytest

from fanfold.store import statements
from fanfold.store.sqlite import DIALECT
from tests.store.bench import Bench

STATEMENTS = statements.load(DIALECT)

# What may walk more of a table than it returns: asked by people or once at a start.
WALKS = {
    "find_behind": "once at a start: `parents` has rows for parents alone",
    "find_unsettled": "as find_behind",
    "read_meta": "one row",
    "write_meta": "one row",
    "list_runs": "a page from the newest on, by primary key",
    "count_runs": "for the doctor, who says how many there are of each",
    "move_pending": "for the doctor, once, after a clock was wrong",
    "set_clock": "one row",
}

# statement -> what its plan must name
PLANS = {
    "insert_runs": ["SEARCH p USING INTEGER PRIMARY KEY"],
    "find_inserted": ["SEARCH runs USING INTEGER PRIMARY KEY"],
    "find_by_key": ["SEARCH r USING INDEX runs_identity (parent_id=? AND key=? AND name=?)"],
    "top_priority": ["SEARCH runs USING COVERING INDEX runs_claimable (queue=? AND name=?"],
    "claimable": ["SEARCH runs USING INDEX runs_claimable (queue=? AND name=? AND priority=? AND available_at<?)"],
    "claimable_of": ["SEARCH runs USING INTEGER PRIMARY KEY"],
    "claimable_suspect": ["SEARCH runs USING INDEX runs_suspect (crashes>? AND crashes<?)"],
    "find_suspects": ["SEARCH runs USING INDEX runs_suspect (crashes>?)"],
    "claim": ["SEARCH runs USING INTEGER PRIMARY KEY"],
    "read_claimed": ["SEARCH r USING INTEGER PRIMARY KEY", "SEARCH p USING INTEGER PRIMARY KEY"],
    "lock_parents": ["SEARCH p USING INTEGER PRIMARY KEY", "SEARCH r USING INTEGER PRIMARY KEY"],
    "note_progress": ["SEARCH runs USING INTEGER PRIMARY KEY"],
    "record_attempts": ["SEARCH r USING INTEGER PRIMARY KEY"],
    "retry_runs": ["SEARCH runs USING INTEGER PRIMARY KEY"],
    "find_retried": ["SEARCH r USING INTEGER PRIMARY KEY"],
    "read_attempts": ["SEARCH attempts USING INDEX attempts_identity (run_id=?)"],
    "end_run": ["SEARCH runs USING INTEGER PRIMARY KEY", "SEARCH p USING INTEGER PRIMARY KEY"],
    "end_runs": [
        "SEARCH runs USING INTEGER PRIMARY KEY",
        "SEARCH r USING INTEGER PRIMARY KEY",
        "SEARCH p USING INTEGER PRIMARY KEY",
    ],
    "find_ending": ["SEARCH r USING INTEGER PRIMARY KEY"],
    "find_ended": ["SEARCH r USING INTEGER PRIMARY KEY"],
    "lower_parents": ["SEARCH parents USING INTEGER PRIMARY KEY"],
    "return_runs": ["SEARCH runs USING INTEGER PRIMARY KEY", "SEARCH p USING INTEGER PRIMARY KEY"],
    "find_returned": ["SEARCH r USING INTEGER PRIMARY KEY"],
    "seal_parents": ["SEARCH parents USING INTEGER PRIMARY KEY"],
    "find_settled": ["SEARCH p USING INTEGER PRIMARY KEY", "SEARCH r USING INTEGER PRIMARY KEY"],
    "seal_groups": ["SEARCH g USING INTEGER PRIMARY KEY", "SEARCH p USING INTEGER PRIMARY KEY"],
    "find_failing": ["SEARCH g USING INTEGER PRIMARY KEY", "SEARCH p USING INTEGER PRIMARY KEY"],
    "find_groups": ["SEARCH r USING INTEGER PRIMARY KEY", "SEARCH p USING INTEGER PRIMARY KEY"],
    "find_names": ["SEARCH runs USING INTEGER PRIMARY KEY"],
    "note_failures": ["SEARCH runs USING INTEGER PRIMARY KEY"],
    "mark_decided": ["SEARCH parents USING INTEGER PRIMARY KEY", "SEARCH r USING INTEGER PRIMARY KEY"],
    "release_held": [
        "SEARCH runs USING INTEGER PRIMARY KEY",
        "SEARCH r USING COVERING INDEX runs_held_back (parent_id=?)",
    ],
    "lower_held": ["SEARCH parents USING INTEGER PRIMARY KEY"],
    "find_held": ["SEARCH r USING INTEGER PRIMARY KEY"],
    "find_spawners": ["SEARCH s USING INTEGER PRIMARY KEY", "SEARCH g USING INTEGER PRIMARY KEY"],
    "find_adoptable": [
        "SEARCH n USING INTEGER PRIMARY KEY",
        "SEARCH o USING INDEX runs_identity (parent_id=? AND key=? AND name=?)",
    ],
    "note_same_as": ["SEARCH runs USING INTEGER PRIMARY KEY"],
    "checkpoint": ["SEARCH runs USING INTEGER PRIMARY KEY", "SEARCH p USING INTEGER PRIMARY KEY"],
    "drop_values": [
        "SEARCH f USING INTEGER PRIMARY KEY",
        "SEARCH runs USING INDEX runs_delivered (parent_id=? AND seq>? AND seq<?)",
    ],
    "find_folds": ["SEARCH f USING INTEGER PRIMARY KEY", "SEARCH p USING INTEGER PRIMARY KEY"],
    "read_group": ["SEARCH parents USING INTEGER PRIMARY KEY"],
    "read_outcomes": ["SEARCH runs USING INDEX runs_delivered (parent_id=? AND seq>? AND seq<?)"],
    "read_fold": ["SEARCH runs USING INTEGER PRIMARY KEY"],
    "read_member_digests": ["SEARCH runs USING INDEX runs_identity (parent_id=? AND key>?)"],
    "wake": ["SEARCH runs USING INTEGER PRIMARY KEY", "SEARCH p USING INTEGER PRIMARY KEY"],
    "evict": ["SEARCH runs USING INTEGER PRIMARY KEY", "SEARCH p USING INTEGER PRIMARY KEY"],
    "consume": ["SEARCH parents USING INTEGER PRIMARY KEY", "SEARCH r USING INTEGER PRIMARY KEY"],
    "find_evicted": ["SEARCH r USING INTEGER PRIMARY KEY"],
    "block": ["SEARCH runs USING INTEGER PRIMARY KEY"],
    "find_blocked": ["SEARCH r USING INTEGER PRIMARY KEY"],
    "find_dropped": ["SEARCH runs USING INTEGER PRIMARY KEY"],
    "drop_timers": ["SEARCH runs USING INTEGER PRIMARY KEY"],
    "due_timers": ["SEARCH runs USING INDEX runs_claimable (queue=? AND name=? AND priority=? AND available_at<?)"],
    "next_timer": ["SEARCH runs USING INDEX runs_claimable (queue=? AND name=? AND priority=?)"],
    "flag": ["SEARCH runs USING INTEGER PRIMARY KEY"],
    "flag_children": ["SEARCH runs USING INDEX runs_identity (parent_id=?)"],
    "open_children": ["SEARCH runs USING INDEX runs_flagged (cancel_requested_at=?)"],
    "flagged": ["runs_flagged"],
    "find_flagged": ["SEARCH r USING INTEGER PRIMARY KEY"],
    "release": ["SEARCH runs USING INTEGER PRIMARY KEY"],
    "release_all": ["runs_held"],
    "accuse": ["SEARCH runs USING INTEGER PRIMARY KEY"],
    "held": ["SEARCH runs USING COVERING INDEX runs_held (owner=?)"],
    "read_run": ["SEARCH runs USING INTEGER PRIMARY KEY"],
    "read_counts": ["SEARCH parents USING INTEGER PRIMARY KEY", "runs_held", "SEARCH g USING INDEX runs_aside"],
    "read_aside_counts": ["SEARCH g USING INDEX runs_aside (parent_id=?)", "SEARCH p USING INTEGER PRIMARY KEY"],
    "walk_children": ["SEARCH runs USING INTEGER PRIMARY KEY (rowid>?)"],
    "count_children": ["SEARCH runs USING INDEX runs_identity (parent_id=?)"],
    "find_root": ["SEARCH runs USING INDEX runs_roots (name=? AND digest=?)"],
    "find_key": ["SEARCH runs USING COVERING INDEX runs_identity (parent_id=? AND key=? AND name=?)"],
    "resume": ["SEARCH runs USING COVERING INDEX runs_paused (root_id=?)"],
    "cancelled_above": ["SEARCH runs USING INTEGER PRIMARY KEY"],
    "read_children": ["SEARCH runs USING INDEX runs_identity (parent_id=? AND (key,name)>(?,?))"],
    "read_deliveries": ["SEARCH runs USING INDEX runs_delivered (parent_id=? AND seq>?)"],
}


def plan(bench: Bench, name: str) -> list[str]:
    parameters = dict.fromkeys(re.findall(r":(\w+)", STATEMENTS[name]))
    cursor = bench.opened.writer._connection.execute(f"EXPLAIN QUERY PLAN {STATEMENTS[name]}", parameters)
    return [detail.replace(" EXISTS USING ", " USING ") for *_, detail in cursor.fetchall()]


@pytest.mark.parametrize("name", sorted(STATEMENTS))
def test_a_statement_prepares_and_walks_through_no_table(bench: Bench, name: str):
    scans = [step for step in plan(bench, name) if re.match(r"SCAN (runs|parents|meta|[abdf-z])\b(?!.* INDEX )", step)]
    assert not scans or name in WALKS


@pytest.mark.parametrize("name", sorted(PLANS))
def test_a_hot_statement_uses_what_was_made_for_it(bench: Bench, name: str):
    steps = plan(bench, name)
    for wanted in PLANS[name]:
        assert any(wanted in step for step in steps), f"{name} has {steps}, not {wanted}"


@pytest.mark.parametrize(
    "name",
    [
        "claimable",
        "claimable_of",
        "due_timers",
        "find_root",
        "read_attempts",
        "read_children",
        "read_deliveries",
        "read_member_digests",
        "read_outcomes",
        "release_held",
    ],
)
def test_a_page_is_read_in_order_without_sorting(bench: Bench, name: str):
    assert not [step for step in plan(bench, name) if "TEMP B-TREE" in step]


def test_an_unknown_slot_is_an_error_at_import():
    with pytest.raises(KeyError):
        statements.render("SELECT {nonsense}", DIALECT)
    with pytest.raises(KeyError):
        statements.render("SELECT 1 WHERE {from:explode runs}", DIALECT)
