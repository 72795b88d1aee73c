"""What must come of a group whose members add members: a plain interpretation, whoever is first."""

import json
from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple

from tests.simulation.values import ATTEMPTS, FAILED, KNOWN, Fails, combine, is_refused, work_value

WEIGHT = 100_003  # of a number of members, beside a sum of their values
GROWING = ("grow", "sync_grow", "grow_flow")
NO_POLICY = ["raise", None, None, True]


class Ended(NamedTuple):
    """How the members of a group end: their values, FAILED of those that fail; siblings in no order."""

    own: list[int]
    siblings: list[int]

    @property
    def completed(self) -> list[int]:
        return [value for value in (*self.own, *self.siblings) if value != FAILED]

    @property
    def failed(self) -> int:
        return (self.own + self.siblings).count(FAILED)


def ended(members: Sequence[Any], attempt: int = 1) -> Ended:
    """Return how all members end, those that others add among them; `attempt` is that of the group's owner."""
    taken = {(key, member[0]): json.dumps(member) for key, member in members if key is not None}
    todo = deque((member, True) for _, member in members)
    found = Ended([], [])
    while todo:
        member, is_own = todo.popleft()
        value = _value(member, attempt)
        adds = member[3] if member[0] in GROWING else []
        if value != FAILED and _conflicts(adds, taken):
            value = FAILED
        (found.own if is_own else found.siblings).append(value)
        for key, added in adds if value != FAILED else ():
            if key is None or (key, added[0]) not in taken:
                todo.append((added, False))
            if key is not None:
                taken[key, added[0]] = json.dumps(added)
    return found


def _value(member: list[Any], attempt: int) -> int:
    name, x, *rest = member
    fails = {
        "picky": is_refused(x), "bomb": True, "sync_bomb": True, "regrow": rest and attempt <= rest[0],
        **dict.fromkeys(("flaky", "sync_flaky", *GROWING), bool(rest) and rest[0] >= ATTEMPTS),
    }.get(name, False)  # fmt: skip
    return FAILED if fails else work_value(x)


def _conflicts(adds: list[Any], taken: dict[tuple[str, str], str]) -> bool:
    """Tell whether a member gives a key to another input than it has."""
    own = dict(taken)
    return any(
        own.setdefault((key, added[0]), json.dumps(added)) != json.dumps(added)
        for key, added in adds
        if key is not None
    )


def is_broken(policy: list[Any], found: Ended) -> bool:
    """Tell whether more fail than the policy allows."""
    failures, most, *_ = policy
    if failures == "raise":
        return found.failed > 0
    if isinstance(most, str):
        return found.failed * 100 > float(most[:-1]) * (len(found.own) + len(found.siblings))
    return most is not None and found.failed > most


def listed(values: Sequence[int], own: int) -> int:
    """Return a number that depends on the order of the owner's members, and on what the others came to."""
    return (combine(values[:own]) + sum(values[own:])) % 1_000_003


def opened(policy: list[Any], how: str, *members: Any, attempt: int = 1) -> int:
    """Return what is made of a group; Fails if its policy ends it, or what folds it fails."""
    found = ended(members, attempt)
    if is_broken(policy, found) or (how == "picky fold" and any(value % 5 == 0 for value in found.completed)):
        raise Fails
    if how == "list":
        return listed(found.own + found.siblings, len(found.own))
    if how == "end":
        return len(found.completed) * WEIGHT + found.failed
    if "pages" in how:
        values = found.own + found.siblings
        return len(values) * WEIGHT + sum(values)
    return len(found.completed) * WEIGHT + sum(found.completed)


def regrown(attempt: int, x: int, until: int, how: str, *members: Any) -> int:
    """Return what is made of a group that fails in the first attempts of its owner."""
    return opened(NO_POLICY, how, *members, [None, ["regrow", x, until]], attempt=attempt)


def _mapped(policy: list[Any], how: str, name: str, _is_keyed: bool, *items: Any) -> int:  # noqa: FBT001
    return opened(policy, how, *([None, [name, *item]] for item in items))


def _cut_short(policy: list[Any], _most: int, *members: Any) -> int:
    if is_broken(policy, ended(members)):
        raise Fails
    return KNOWN


ANSWERS: dict[str, Any] = {
    "opened": opened,
    "within": opened,
    "mapped": _mapped,
    "cut_short": _cut_short,
    "cancel_opened": lambda *_arguments: KNOWN,
    "spawn_opened": lambda *_arguments: KNOWN,
}
