"""What must hold of groups after every commit: members, siblings, folds."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from fanfold.model.lifecycle import COMPLETED, WAITING
from fanfold.model.run import GROUP
from tests.simulation.members import NOTHING_YET, count_up
from tests.simulation.values import work_value
from tests.store.invariants import INVARIANTS

_OF_STORES = ("5: ", "10: ", "3: whoever", "4: what waits", "4: groups")  # of its invariants, those about groups
RULES: dict[str, str] = {name: query for name, query in INVARIANTS.items() if name.startswith(_OF_STORES)} | {
    "siblings: they are there before the member that added them has ended well": f"""
        SELECT c.id FROM runs c JOIN runs s ON s.id = CAST(substr(c.key, 3) AS INTEGER)
        WHERE c.key LIKE 's:%' AND s.state NOT IN ('{COMPLETED}', '{WAITING}')""",
    "siblings: a member has completed, and they are not there": f"""
        SELECT s.id FROM runs s JOIN json_each(s.input, '$.adds') a
        WHERE s.name IN ('grow', 'sync_grow', 'grow_flow') AND s.state = '{COMPLETED}' AND s.seq > 0
          AND s.same_as IS NULL AND NOT EXISTS (
            SELECT 1 FROM runs c WHERE c.parent_id = s.parent_id AND c.name = a.value ->> '$[1][0]'
              AND c.key = coalesce('k:' || (a.value ->> '$[0]'), 's:' || s.id || ':' || a.key))""",
    "siblings: more members of one that has completed than it added": """
        SELECT s.id FROM runs s JOIN runs c ON c.parent_id = s.parent_id AND c.key LIKE 's:' || s.id || ':%'
        GROUP BY s.id HAVING count(*) > json_array_length(s.input, '$.adds')""",
    "folds: two of one group, and its results are dropped": """
        SELECT g.id FROM runs g JOIN runs f ON f.kind = 'fold' AND f.input ->> '$.group' = g.id
        WHERE g.kind = 'group' AND g.options ->> '$.keeps_results' = 0 GROUP BY g.id HAVING count(*) > 1""",
}


def wrong_folds(fold: Any, rows: Iterable[Any]) -> list[str]:
    """Compare what a fold has recorded with what it should have made of the members that are in it."""
    if fold.output is None:
        return []
    group_id = json.loads(fold.input)["group"]
    upto = json.loads(fold.progress)["done"] if fold.finished_at is None else None
    members = sorted(
        (row.seq, row.input) for row in rows
        if row.parent_id == group_id and row.seq is not None and row.state == COMPLETED
        and (upto is None or row.seq <= upto)
    )  # fmt: skip
    recorded = json.loads(fold.output)
    value = [recorded[0] - len(members), *NOTHING_YET[1:]]  # the one that begins with 5 has 5 more
    for _, text in members:
        value = count_up(value, work_value(json.loads(text)["x"]))
    if value == recorded and value[0] - len(members) in (0, 5):
        return []
    return [f"folds: run {fold.id} has come to {recorded} with {upto or 'all'} members, and should to {value}"]


def has_completed_before(run: Any, rows: Mapping[int, Any]) -> bool:
    """Tell whether a member of this key and input completed in the newest group of an earlier attempt."""
    group = rows.get(run.parent_id)
    if group is None or group.kind != GROUP or not (group.key or "").startswith("g"):
        return False
    base = group.key.partition(":")[2]
    earlier = [
        row for row in rows.values()
        if row.parent_id == group.parent_id and row.kind == GROUP and row.name == group.name and row.id < group.id
        and row.key.partition(":")[2] == base
    ]  # fmt: skip
    newest = max(earlier, key=lambda row: row.id, default=None)
    return newest is not None and any(
        (row.parent_id, row.key, row.name, row.digest, row.state)
        == (newest.id, run.key, run.name, run.digest, COMPLETED)
        and row.finished_at < run.created_at
        for row in rows.values()
    )
