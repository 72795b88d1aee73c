"""The right answers at the end: of each root, of each task, of each child workflow."""

import json
from typing import Any, NamedTuple

import apsw

from fanfold.engine.engine import Ended
from fanfold.model import lifecycle
from fanfold.model.run import GROUP
from tests.simulation.answers import answer, task_answer
from tests.simulation.leaves import DEAF_S, policy
from tests.simulation.values import ATTEMPTS, Fails, is_refused, work_value

WORK = ("work", "sync_work", "stubborn", "deaf", "cancel", "sleep")
# Tasks that fail so many times.
AT_LAST = {"slow": "late", **dict.fromkeys(("flaky", "sync_flaky", "grow", "sync_grow"), "fails")}
FAILING = ("boom", "poison", "quitter", "bomb", "sync_bomb")
PARENTS = ("parent", "sync_parent")
BOMBS = ("bomb", "sync_bomb")
QUARANTINED = "Quarantined"


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


class Run(NamedTuple):
    """What is recorded of a run."""

    id: int
    parent_id: int
    kind: str
    name: str
    state: str
    attempt: int
    input: str  # of a group: none
    options: str | None
    output: str | None
    error: str | None
    cancel_requested_at: int | None
    finished_at: int
    same_as: int | None

    @property
    def is_gone(self) -> bool:
        """Whether its result was dropped once it was in a fold."""
        return self.state == lifecycle.COMPLETED and self.output is None


def check_rows(connection: apsw.Connection, *, is_tainted: bool) -> list[str]:
    """Compare every recorded result with its input."""
    found: list[str] = []
    query = (
        f"SELECT {', '.join(Run._fields)} FROM runs WHERE kind IN ('task', 'workflow', 'group') ORDER BY parent_id, id"
    )
    rows = [Run(*row) for row in connection.execute(query)]
    flagged = {run.id for run in rows if run.cancel_requested_at is not None}
    for run in rows:
        if run.parent_id in flagged:
            flagged.add(run.id)  # what is below a cancelled run may end in any way
        is_free = run.id not in flagged and not is_tainted
        if run.kind == GROUP:
            if is_free and run.state == lifecycle.CANCELLED:
                found.append(f"group {run.id} of {run.name} was cancelled, and nobody had asked")
            continue
        problem = _check_leaf(run, is_free=is_free)
        if problem is None and is_free and run.state == lifecycle.CANCELLED:
            problem = "was cancelled, and nobody had asked"
        if problem is not None:
            found.append(f"{run.name} {run.id} of {run.input} {problem}; {run.state}, {run.output}, {run.error}"[:600])
        elif is_free and run.name in ("program", *PARENTS):
            problem = _check_program(run)
            found.extend([problem] if problem else [])
    return found


def _check_program(run: Run) -> str | None:
    code = json.loads(run.input)["code"]
    if run.name not in PARENTS:
        return _compare(run.id, code, run.state, run.output, run.error)
    most = policy(run.name, run.options).max_attempts
    try:
        value, attempt = task_answer(code, most)
    except Fails:
        value, attempt = None, most
    expected = (lifecycle.FAILED, None) if value is None else (lifecycle.COMPLETED, str(value))
    if (run.state, run.output, run.attempt) == (*expected, attempt):
        return None
    if expected[0] == run.state and run.output == expected[1] and "impatient" in run.input:
        return None  # whether its child was too slow depends on crashes
    ended = f"{run.name} {run.id} ended {run.state} with {run.output} at attempt {run.attempt}"
    return f"{ended}; the answer is {expected} at {attempt}; {run.error and run.error[:300]}"


def _check_leaf(run: Run, *, is_free: bool) -> str | None:
    """Return what is wrong with how a leaf ended."""
    has_completed = run.state == lifecycle.COMPLETED
    arguments = json.loads(run.input)
    x = arguments.get("x", 0)
    is_quarantined = QUARANTINED in (run.error or "")[:100]
    if is_quarantined != (run.name in BOMBS and run.state == lifecycle.FAILED):
        return "is quarantined, or should be"
    if run.name in FAILING and has_completed:
        return "did not fail"
    if run.name in AT_LAST:
        return _check_at_last(run, arguments[AT_LAST[run.name]], x, is_free=is_free)
    if run.name == "picky" and run.state == (lifecycle.COMPLETED if is_refused(x) else lifecycle.FAILED):
        return "did not fail, or did"
    if run.name not in (*WORK, "stale", "picky", "regrow", "grow_flow"):
        return None
    if has_completed and not run.is_gone and run.output != str(work_value(x)):
        return "came to something else"
    if run.name in WORK and run.state == lifecycle.FAILED:
        return "failed"
    if run.name == "deaf" and has_completed and run.cancel_requested_at is not None:
        after_ms = run.finished_at - run.cancel_requested_at
        return f"completed {after_ms} ms after its cancel" if after_ms >= DEAF_S * 1000 else None
    return None


def _check_at_last(run: Run, fails: int, x: int, *, is_free: bool) -> str | None:
    right = run.attempt == (0 if run.same_as else fails + 1) and (run.is_gone or run.output == str(work_value(x)))
    if run.state == lifecycle.COMPLETED and right:
        return None
    if run.state == lifecycle.FAILED and "KeyConflict" in (run.error or ""):
        return None if run.name in ("grow", "sync_grow") else "gave a key to two inputs"
    if run.state == lifecycle.FAILED and run.attempt == ATTEMPTS <= fails:
        return None
    return f"is at attempt {run.attempt}" if is_free or run.state == lifecycle.COMPLETED else None
