"""The right answers at the end: of each root, of each task, of each child workflow."""

import json
from typing import Any

import apsw

from fanfold.engine.engine import Ended
from fanfold.model import lifecycle
from tests.simulation.answers import Fails, answer, work_value

WORK = ("work", "sync_work", "stubborn", "cancel", "sleep")


def check_root(code: list[Any], ended: Ended, *, is_cancelled: bool) -> str | None:
    """Compare how a root ended with the plain interpretation."""
    if is_cancelled:
        return None if lifecycle.is_terminal(ended.state) else f"root {ended.id} is {ended.state}"
    return _compare(ended.id, code, ended.state, ended.output, ended.error)


def _compare(id: int, code: list[Any], state: str, output: str | None, error: str | None) -> str | None:
    try:
        expected = json.dumps(answer(code))
    except Fails:
        return None if state == lifecycle.FAILED else f"run {id} ended {state} with {output}, it has to fail"
    if (state, output) == (lifecycle.COMPLETED, expected):
        return None
    return f"run {id} ended {state} with {output}, the answer is {expected}; {error and error[:300]}"


def check_rows(connection: apsw.Connection, *, is_tainted: bool) -> list[str]:
    """Compare every recorded result with its input."""
    found: list[str] = []
    rows = connection.execute(
        "SELECT id, name, state, input, output, error, cancel_requested_at, parent_id FROM runs "
        "WHERE kind IN ('task', 'workflow') ORDER BY id"
    ).fetchall()
    flagged = {row[0] for row in rows if row[6] is not None}
    for id, name, state, input_, output, error, _, parent in sorted(rows, key=lambda row: (row[7], row[0])):
        if parent in flagged:
            flagged.add(id)  # what is below a cancelled run may end in any way
        arguments = json.loads(input_)
        if name in WORK and state == lifecycle.COMPLETED and output != str(work_value(arguments["x"])):
            found.append(f"{name} {id} of {arguments} came to {output}")
        if name in WORK and state == lifecycle.FAILED:
            found.append(f"{name} {id} failed: {error}")
        if name in ("boom", "poison") and state == lifecycle.COMPLETED:
            found.append(f"{name} {id} did not fail")
        if state == lifecycle.CANCELLED and id not in flagged and not is_tainted:
            found.append(f"{name} {id} was cancelled, and nobody had asked")
        if name == "program" and id not in flagged and not is_tainted:
            problem = _compare(id, arguments["code"], state, output, error)
            found.extend([problem] if problem else [])
    return found
