"""Random groups: their policies, members that add members, and what is done with them."""

from typing import TYPE_CHECKING, Any

from tests.simulation.values import ATTEMPTS

if TYPE_CHECKING:
    from tests.simulation.generate import Maker

READERS = ("list", "end", "fold", "fold", "picky fold", "two folds", "pages", "pages", "pages beside", "fold and pages")
SYNC_READERS = ("list", "end", "fold", "fold", "picky fold")
DEEPEST = 3  # siblings of siblings of siblings


class GroupMaker:
    """Makes one group out of a program's generator."""

    def __init__(self, maker: "Maker", *, is_sync: bool = False, grows: bool = True) -> None:
        self._maker = maker
        self._rng = maker.rng
        self._readers = SYNC_READERS if is_sync else READERS
        self._grows = grows  # members add others
        self._shared = {maker.name(): self._leaf(may_fail=False) for _ in range(2)}

    def policy(self, how: str, *, has_percent: bool) -> list[Any]:
        """Return a policy: failures, how many may fail, how many run at once, whether results are kept."""
        rng = self._rng
        failures = rng.choice(("raise", "collect", "collect"))
        most = rng.choice((None, None, 0, 1, 2, *(("0%", "30%", "60%") * has_percent)))
        keeps = how not in ("fold", "picky fold") or rng.random() < 0.4
        return [failures, most if failures == "collect" else None, rng.choice((None, None, 1, 2, 5)), keeps]

    def reader(self) -> str:
        """Return what is done with a group."""
        return self._rng.choice(self._readers)

    def members(self, *, may_fail: bool, most: int = 6) -> list[Any]:
        """Return a group's own members, keys first: others give them to their siblings."""
        rng = self._rng
        keyed, plain = [], []
        for _ in range(rng.randint(0, most)):
            if self._grows and rng.random() < 0.2:
                key, x = self._maker.name(), self._maker.x()
                keyed.append([key, ["work", x, 0]])
                added = ["work", x + (may_fail and rng.random() < 0.4), 0]
                plain.append([None, [self._growing(), self._maker.x(), 0, [[key, added]]]])
            else:
                plain.append([None, self.member(0, may_fail=may_fail)])
        return keyed + plain

    def member(self, depth: int, *, may_fail: bool) -> list[Any]:
        """Return a member: a leaf, or one that adds others."""
        rng = self._rng
        if not self._grows or depth >= DEEPEST or rng.random() < 0.55:
            return self._leaf(may_fail=may_fail)
        adds = [self._added(depth, may_fail=may_fail) for _ in range(rng.choice((0, 1, 1, 2, 3)))]
        if may_fail and rng.random() < 0.1:
            key, x = self._maker.name(), self._maker.x()
            adds += [[key, ["work", x, 0]], [key, ["work", x + rng.randint(0, 1), 0]]]
        name = self._growing()
        fails = rng.choice((0, 0, 1, 2, *((ATTEMPTS,) * may_fail)))
        return [name, self._maker.x(), fails if name != "grow_flow" or fails >= ATTEMPTS else 0, adds]

    def _added(self, depth: int, *, may_fail: bool) -> list[Any]:
        if self._rng.random() < 0.3:
            key = self._rng.choice(sorted(self._shared))
            return [key, self._shared[key]]
        return [None, self.member(depth + 1, may_fail=may_fail)]

    def _growing(self) -> str:
        return self._rng.choice(("grow", "grow", "sync_grow", "grow_flow"))

    def _leaf(self, *, may_fail: bool) -> list[Any]:
        rng, x, ms = self._rng, self._maker.x(), self._maker.ms()
        if may_fail and rng.random() < 0.3:
            return rng.choice((["picky", x - x % 9, ms], ["flaky", x, ATTEMPTS]))
        return rng.choice((["work", x, ms], ["work", x, ms], ["sync_work", x], ["flaky", x, rng.randint(0, 2)]))


def opened(maker: "Maker", *, is_sync: bool = False) -> list[Any]:
    """Return a group that is opened, and may fail."""
    made = GroupMaker(maker, is_sync=is_sync)
    name, how = maker.rng.choice(("opened", "within")), made.reader()
    policy = made.policy(how, has_percent=True)
    members = made.members(may_fail=policy[0] == "collect" or maker.rng.random() < 0.3)
    return [name if how != "end" else "within", policy, how, *members]


def mapped(maker: "Maker", *, is_sync: bool = False) -> list[Any]:
    """Return a group over items, and may fail."""
    made = GroupMaker(maker, is_sync=is_sync)
    how = made.reader().replace("end", "list")
    policy = made.policy(how, has_percent=True)
    name, is_keyed = maker.rng.choice(("work", "picky")), maker.rng.random() < 0.3
    count = maker.rng.choice((0, 1, 2, 4, 7, 12))
    items = ([maker.serial() if is_keyed else maker.x(), 0] for _ in range(count))
    return ["mapped", policy, how, name, is_keyed, *items]


def regrown(maker: "Maker", until: int, *, is_sync: bool) -> list[Any]:
    """Return a group that fails in the first attempts of its owner."""
    made = GroupMaker(maker, is_sync=is_sync, grows=False)
    how = maker.rng.choice(("list", "fold"))
    return ["regrown", maker.serial(), until, how, *made.members(may_fail=False)]


def cancelled(maker: "Maker") -> list[Any]:
    """Return a group that is cancelled, maybe."""
    made = GroupMaker(maker)
    how = maker.rng.choice(("group", made.reader()))
    members = [*made.members(may_fail=False), [None, ["deaf", maker.x(), 150]]]
    return ["cancel_opened", maker.rng.choice((0, 0.01, 0.03, 0.1)), made.policy(how, has_percent=True), how, *members]


def left(maker: "Maker") -> list[Any]:
    """Return a group that nobody waits for, with a fold or without."""
    made = GroupMaker(maker)
    how = maker.rng.choice(("fold", "nothing"))
    return ["spawn_opened", made.policy(how, has_percent=True), how, *made.members(may_fail=True)]


def cut_short(maker: "Maker") -> list[Any]:
    """Return a group that is iterated over in part."""
    made = GroupMaker(maker)
    policy = made.policy("pages", has_percent=False)
    return ["cut_short", policy, maker.rng.randint(1, 3), *made.members(may_fail=policy[0] == "collect")]
