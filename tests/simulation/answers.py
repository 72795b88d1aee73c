"""What a random program must come to: a plain interpretation, without fanfold, asyncio or time."""

from collections.abc import Callable
from typing import Any

from tests.simulation import grown
from tests.simulation.values import ATTEMPTS, CONFLICT, FAILED, KNOWN, Fails, combine, is_refused, work_value


def answer(code: list[Any]) -> int:
    """Return the value of a program; Fails if it raises."""
    return _ANSWERS[code[0]](*code[1:])


def _each(*nodes: Any) -> int:
    values: list[int] = []
    failed = False
    for node in nodes:
        try:
            values.append(answer(node))
        except Fails:
            failed = True
    if failed:
        raise Fails
    return combine(values)


def _catch(node: Any) -> int:
    try:
        return answer(node)
    except Fails:
        return FAILED


def _raise(*_arguments: Any) -> int:
    raise Fails


def _known(*_arguments: Any) -> int:
    return KNOWN


def _work(x: int, *_arguments: Any) -> int:
    return work_value(x)


def _sum(*pairs: Any) -> int:
    return sum(work_value(x) for x, _ in pairs)


def _after(x: int, fails: int) -> int:
    if fails >= ATTEMPTS:
        raise Fails
    return work_value(x)


def _map(how: str, *pairs: Any) -> int:
    if how == "picky" and any(is_refused(x) for x, _ in pairs):
        raise Fails
    return combine(work_value(x) for x, _ in pairs)


def _map_tasks(_how: str, most: int, _delay_s: float, *codes: Any) -> int:
    return combine([task_answer(code, most)[0] for code in codes])


class _Attempt:
    """One attempt of a task that starts children."""

    def __init__(self, number: int) -> None:
        self._number = number

    def answer(self, code: list[Any]) -> int:
        """Return the value of a step; Fails if it raises."""
        own = getattr(self, f"_{code[0]}", None)
        return _STEPS[code[0]](*code[1:]) if own is None else own(*code[1:])

    def _steps(self, *codes: Any) -> int:
        return combine([self.answer(code) for code in codes])

    def _gather(self, *codes: Any) -> int:
        values, failed = [], False
        for code in codes:
            try:
                values.append(self.answer(code))
            except Fails:
                failed = True
        if failed:
            raise Fails
        return combine(values)

    _group = _gather

    def _catch(self, code: list[Any]) -> int:
        try:
            return self.answer(code)
        except Fails:
            return FAILED

    def _fails_until(self, attempt: int) -> int:
        if self._number <= attempt:
            raise Fails
        return KNOWN

    def _impatient(self, x: int, until: int) -> int:
        self._fails_until(until)
        return work_value(x)

    _overrun = _afresh = _impatient

    def _regrown(self, x: int, until: int, how: str, *members: Any) -> int:
        return grown.regrown(self._number, x, until, how, *members)


def task_answer(code: list[Any], most: int) -> tuple[int, int]:
    """Return the value of a task that starts children, and the attempt in which it comes to it; Fails if none does."""
    for number in range(1, most + 1):
        try:
            return _Attempt(number).answer(code), number
        except Fails:
            continue
    raise Fails


_STEPS: dict[str, Callable[..., int]] = {
    "call": _work,
    "sync": _work,
    "fail": _raise,
    "retried": _after,
    "late": _after,
    "twice": lambda x, _ms: combine([work_value(x)] * 2),
    "tickets": _known,
    "keyed": _work,
    "nested": lambda _how, most, _delay_s, code: task_answer(code, most)[0],
    "flow": answer,
    "spawn": _known,
    "spawn_nested": _known,
    "cancel": _known,
    "timeout": _known,
    "nap": _known,
    "patient": _work,
    **grown.ANSWERS,
}
_ANSWERS: dict[str, Callable[..., int]] = {
    "seq": _each,
    "call": _work,
    "sync": _work,
    "keyed": _work,
    "conflict": lambda x, _name: CONFLICT + work_value(x),
    "delayed": _work,
    "fail": _raise,
    "refused": _raise,
    "named": lambda x: work_value(x) + work_value(x + 1),
    "bag": lambda x: x * 24 + 192,
    "child": answer,
    "task": lambda _how, most, _delay_s, code: task_answer(code, most)[0],
    "spawn_task": _known,
    "cancel_task": _known,
    "retried": _after,
    "late": _after,
    "explode": _raise,
    "nap": _known,
    "durable_nap": _known,
    "gather": _each,
    "gather_handles": lambda *pairs: combine(work_value(x) for x, _ in pairs),
    "group": _each,
    "race": _known,
    "all_of": lambda *pairs: sum(work_value(work_value(work_value(x))) for x, _ in pairs),
    "as_completed": _sum,
    "timeout": _known,
    "wait_for": _known,
    "cancel": _known,
    "cancel_child": _known,
    "shield": _work,
    "spawn": _known,
    "spawn_child": _known,
    "left_behind": _known,
    "catch": _catch,
    "compensate": lambda _x, node: answer(node),
    "chance": _known,
    "queue": _sum,
    "locked": lambda *pairs: combine(work_value(x) for x, _ in pairs),
    "generator": lambda stop_after, *pairs: _sum(*pairs[: stop_after or None]),
    "callback": _work,
    "map_leaves": _map,
    "map_programs": _each,
    "map_tasks": _map_tasks,
    "map_broken": _raise,
    "map_refused": _raise,
    "map_refused_items": _raise,
    "explode_map": _raise,
    "cancel_map": _known,
    "cancel_map_programs": _known,
    "spawn_map": _known,
    "spawn_map_programs": _known,
    "compensate_map": lambda node, *_pairs: answer(node),
    **grown.ANSWERS,
}
NAMES = tuple(_ANSWERS)
