"""Random programs: small, mixed, and different for each seed."""

from random import Random
from typing import Any

from tests.simulation import group_maker

MAX_DEPTH = 3  # of child workflows


class Maker:
    """Makes one program out of a seeded generator; `left` bounds how much it does."""

    def __init__(self, rng: Random, size: int) -> None:
        self.rng = rng
        self._left = size
        self._names = 0
        self._is_timed = False

    def program(self) -> list[Any]:
        """Return a program: a few steps, one after the other."""
        steps = [self.node(0) for _ in range(self.rng.randint(1, 4))]
        return ["seq", *steps]

    def node(self, depth: int) -> list[Any]:
        """Return a random node; leaves once the program is large enough."""
        self._left -= 1
        makers = _LEAVES if self._left <= 0 else _ALL
        return self.rng.choice(makers)(self, depth)

    def timed(self, depth: int) -> list[Any]:
        """Return a node for under a timeout."""
        before, self._is_timed = self._is_timed, True
        node = self.node(depth)
        self._is_timed = before
        return node

    def together(self) -> str:
        # A TaskGroup of Python 3.11 and 3.12 that fails while it is being cancelled forgets to take its own cancel
        # back: the timeout's caller is cancelled, on stock asyncio as well.
        return "gather" if self._is_timed else self.rng.choice(("group", "gather"))

    # Leaves --------------------------------------------------------------------------------------------------------

    def x(self) -> int:
        return self.rng.randrange(50)

    def ms(self) -> int:
        return self.rng.choice((0, 0, 0, 3, 20, 150, 900))

    def seconds(self) -> float:
        return self.rng.choice((0.001, 0.01, 0.02, 0.1, 0.5, 2.0))

    def pairs(self) -> list[Any]:
        count = self.rng.randint(1, 4)
        self._left -= count - 1
        return [[self.x(), self.ms()] for _ in range(count)]

    def items(self) -> list[Any]:
        """Return the items of a group of leaves: none, few, or more than a window."""
        count = self.rng.choice((0, 1, 2, 3, 5, 8, 12))
        self._left -= count // 3
        return [[self.x(), self.ms()] for _ in range(count)]

    def leaves(self) -> list[Any]:
        """Return a group of leaves that does not fail."""
        return ["map_leaves", self.rng.choice(_HOW), *self.items()]

    def programs(self, depth: int) -> list[Any]:
        """Return the items of a group of workflows."""
        return [self.inner(depth) for _ in range(self.rng.choice((0, 1, 2, 3, 4)))]

    def tasks(self, depth: int) -> list[Any]:
        """Return the items of a group of tasks with children, after how they are run."""
        how, most, delay_s, code = self.task(depth)
        same = [code] * self.rng.choice((0, 0, 1))
        return [how, most, delay_s, code, *([["steps", self.step(how, MAX_DEPTH)]] * self.rng.randint(0, 3)), *same]

    def name(self) -> str:
        self._names += 1
        return f"key-{self._names}"

    def nodes(self, depth: int) -> list[Any]:
        return [self.node(depth) for _ in range(self.rng.randint(2, 3))]

    def inner(self, depth: int) -> list[Any]:
        """Return a program for a child workflow."""
        if depth >= MAX_DEPTH:
            return ["call", self.x(), self.ms()]
        return ["seq", *(self.node(depth + 1) for _ in range(self.rng.randint(1, 2)))]

    # Tasks that start children ---------------------------------------------------------------------------------------

    def task(self, depth: int) -> list[Any]:
        """Return how a task is run, and its code: at most one step whose failure depends on the attempt."""
        self._left -= 1
        how = self.rng.choice(("async", "async", "sync"))
        codes = [self.step(how, depth + 1) for _ in range(self.rng.randint(1, 3))]
        most = self.rng.choice((1, 1, 2, 3))
        if most > 1:
            name = self.rng.choice(_FAILING_STEPS if how == "async" else _FAILING_STEPS[:2])
            until = self.rng.choice((1, most - 1, most - 1, most))
            if name == "impatient":  # a crash may give its child the time that it needs
                until = min(until, most - 1)
            failing = self._failing(name, until, is_sync=how == "sync")
            # Time counts while nothing of the body waits for a child: first, before there is any.
            codes.insert(0 if name == "overrun" else self.rng.randint(0, len(codes)), failing)
            if name == "afresh" and self.rng.random() < 0.3:
                codes.insert(self.rng.randint(0, len(codes)), [name, self.serial(), 1])
        return [how, most, self.rng.choice((0.0, 0.0, 0.05, 0.5)), ["steps", *codes]]

    def _failing(self, name: str, until: int, *, is_sync: bool) -> list[Any]:
        if name == "regrown":
            return group_maker.regrown(self, until, is_sync=is_sync)
        return [name, until] if name == "fails_until" else [name, self.serial(), until]

    def step(self, how: str, depth: int) -> list[Any]:
        self._left -= 1
        makers = _STEPS if self._left <= 0 or depth >= MAX_DEPTH else [*_STEPS, *_DEEP_STEPS]
        own = _ASYNC_STEPS if how == "async" else _SYNC_STEPS
        return self.rng.choice([*makers, *own])(self, how, depth)

    def timed_step(self, how: str, depth: int) -> list[Any]:
        """Return a step for under a timeout."""
        before, self._is_timed = self._is_timed, True
        code = self.step(how, depth)
        self._is_timed = before
        return code

    def together_steps(self, how: str, depth: int) -> list[Any]:
        return [self.step(how, depth + 1) for _ in range(self.rng.randint(2, 3))]

    def serial(self) -> int:
        """Return a number that no other call has as its input."""
        self._names += 1
        return 100 + self._names


# How a group of leaves is started that does not fail.
_HOW = ("starmap", "starmap", "lazily", "later", "in threads", "retried")
# How a task fails in its first attempts; the first two in threads as well.
_FAILING_STEPS = ("fails_until", "afresh", "impatient", "overrun", *(("regrown",) * 0))
_STEPS: list[Any] = [
    lambda m, h, d: ["call", m.x(), m.ms()],
    lambda m, h, d: ["call", m.x(), m.ms()],
    lambda m, h, d: ["sync", m.x()],
    lambda m, h, d: ["twice", m.x(), m.ms()],
    lambda m, h, d: ["tickets", m.rng.randint(2, 3)],
    lambda m, h, d: ["keyed", m.x(), m.name()],
    lambda m, h, d: ["retried", m.x(), m.rng.choice((0, 1, 2))],
    lambda m, h, d: ["spawn", m.x(), m.ms()],
    lambda m, h, d: ["cancel", m.x(), m.ms(), m.rng.choice((0, 0, 0.01, 0.1))],
    lambda m, h, d: ["catch", [m.rng.choice(("retried", "late")), m.x(), m.rng.randint(0, 3)]],
    lambda m, h, d: ["catch", ["fail", m.x()]],
    *[lambda m, h, d: ["catch", group_maker.opened(m, is_sync=h == "sync")]] * 0,
    *[lambda m, h, d: ["catch", group_maker.mapped(m, is_sync=h == "sync")]] * 0,
    *[lambda m, h, d: group_maker.left(m)] * 0,
]
_DEEP_STEPS: list[Any] = [
    lambda m, h, d: ["nested", *m.task(d)],
    lambda m, h, d: ["catch", ["nested", *m.task(d)]],
    lambda m, h, d: ["spawn_nested", *m.task(d)],
    lambda m, h, d: ["flow", m.inner(d)],
    lambda m, h, d: ["gather", *m.together_steps(h, d)],
]
_ASYNC_STEPS: list[Any] = [
    *[lambda m, h, d: group_maker.cancelled(m)] * 0,
    *[lambda m, h, d: ["catch", group_maker.cut_short(m)]] * 0,
    lambda m, h, d: ["nap", m.seconds()],
    lambda m, h, d: ["timeout", m.seconds(), m.timed_step(h, d)],
    lambda m, h, d: ["catch", ["gather", ["call", m.x(), m.ms()], ["fail", m.x()], m.step(h, d)]],
    lambda m, h, d: ["catch", [m.together(), ["call", m.x(), m.ms()], ["fail", m.x()], m.step(h, d)]],
]
_SYNC_STEPS: list[Any] = [
    lambda m, h, d: ["patient", m.x(), m.ms(), m.seconds()],
]
_LEAVES: list[Any] = [
    lambda m, d: ["call", m.x(), m.ms()],
    lambda m, d: ["call", m.x(), m.ms()],
    lambda m, d: ["sync", m.x()],
    lambda m, d: ["keyed", m.x(), m.name()],
    lambda m, d: ["nap", m.seconds()],
    lambda m, d: ["durable_nap", m.seconds()],
    lambda m, d: ["spawn", m.x(), m.ms()],
    lambda m, d: ["cancel", m.x(), m.ms(), m.rng.choice((0, 0, 0.01, 0.1))],
    lambda m, d: ["chance", 40],
    lambda m, d: m.leaves(),
]
_ALL: list[Any] = [
    *_LEAVES,
    *[lambda m, d: ["catch", group_maker.opened(m)]] * 6,
    *[lambda m, d: ["catch", group_maker.mapped(m)]] * 4,
    lambda m, d: ["gather", ["catch", group_maker.opened(m)], m.node(d), ["catch", group_maker.mapped(m)]],
    *[lambda m, d: group_maker.cancelled(m)] * 2,
    lambda m, d: ["catch", group_maker.cut_short(m)],
    *[lambda m, d: group_maker.left(m)] * 0,
    lambda m, d: ["timeout", m.seconds(), group_maker.opened(m)],
    lambda m, d: ["named", m.x()],
    lambda m, d: ["bag", m.x()],
    lambda m, d: ["conflict", m.x(), m.name()],
    lambda m, d: ["delayed", m.x(), m.seconds()],
    lambda m, d: ["catch", ["fail", m.x()]],
    lambda m, d: ["catch", m.rng.choice((["refused", m.x()], ["child", ["refused", m.x()]]))],
    lambda m, d: ["catch", ["child", ["seq", m.node(d + 1), ["fail", m.x()]]]],
    lambda m, d: ["catch", [m.together(), ["call", m.x(), m.ms()], ["fail", m.x()], m.node(d)]],
    lambda m, d: ["catch", [m.together(), ["call", m.x(), m.ms()], ["fail", m.x()], m.node(d)]],
    lambda m, d: ["child", m.inner(d)],
    lambda m, d: ["child", m.inner(d)],
    *[lambda m, d: ["catch", ["task", *m.task(d)]]] * 6,
    lambda m, d: ["spawn_task", *m.task(d)],
    lambda m, d: ["cancel_task", *m.task(d), m.rng.choice((0, 0.01, 0.1, 0.5))],
    lambda m, d: ["retried", m.x(), m.rng.choice((0, 1, 2))],
    lambda m, d: ["catch", [m.rng.choice(("retried", "late")), m.x(), m.rng.randint(0, 3)]],
    lambda m, d: ["gather", *m.nodes(d)],
    lambda m, d: ["gather", *m.nodes(d)],
    lambda m, d: ["gather_handles", *m.pairs()],
    lambda m, d: ["group", *m.nodes(d)],
    lambda m, d: ["race", *m.nodes(d)],
    lambda m, d: ["race", ["call", m.x(), m.ms()], ["call", m.x(), m.ms()], ["nap", m.seconds()]],
    lambda m, d: ["all_of", *m.pairs()],
    lambda m, d: ["as_completed", *m.pairs()],
    lambda m, d: ["timeout", m.seconds(), m.timed(d)],
    lambda m, d: ["timeout", m.seconds(), ["child", m.inner(d)]],
    lambda m, d: ["timeout", m.seconds(), ["compensate", m.x(), m.timed(d)]],
    lambda m, d: ["wait_for", m.seconds(), m.timed(d)],
    lambda m, d: ["cancel_child", m.inner(d), m.rng.choice((0, 0.01, 0.1))],
    lambda m, d: ["shield", m.x(), m.ms(), m.seconds()],
    lambda m, d: ["spawn_child", m.inner(d)],
    lambda m, d: ["left_behind", m.node(d)],
    lambda m, d: ["compensate", m.x(), m.node(d)],
    lambda m, d: ["queue", *m.pairs()],
    lambda m, d: ["locked", *m.pairs()],
    lambda m, d: ["generator", m.rng.randint(0, 3), *m.pairs()],
    lambda m, d: ["callback", m.x(), m.seconds()],
    *[lambda m, d: m.leaves()] * 3,
    *[lambda m, d: ["catch", ["map_leaves", "picky", *m.items()]]] * 2,
    lambda m, d: ["gather", m.leaves(), m.node(d), m.leaves()],
    lambda m, d: ["catch", ["map_programs", *m.programs(d)]],
    lambda m, d: ["catch", ["map_programs", *m.programs(d), ["fail", m.x()], *m.programs(d)]],
    lambda m, d: ["catch", ["map_tasks", *m.tasks(d)]],
    lambda m, d: ["catch", m.rng.choice((["map_broken", *m.items()], ["map_refused", m.x()]))],
    lambda m, d: ["catch", ["child", ["map_refused_items", m.x(), m.rng.randint(0, 3)]]],
    *[lambda m, d: ["cancel_map", m.rng.choice((0, 0.01, 0.03, 0.1)), *m.items()]] * 2,
    lambda m, d: ["cancel_map_programs", m.rng.choice((0, 0.01, 0.1)), *m.programs(d)],
    lambda m, d: [m.rng.choice(("timeout", "wait_for")), m.seconds(), m.leaves()],
    lambda m, d: ["spawn_map", *m.items()],
    *[lambda m, d: ["spawn_map_programs", *m.programs(d)]] * 0,
    lambda m, d: ["timeout", m.seconds(), ["compensate_map", m.inner(d), *m.items()]],
]
