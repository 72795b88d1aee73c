"""One seed: a random program on the real engine, through as many lives as its faults make, checked at every commit."""

from random import Random
from typing import Any, NoReturn

from fanfold.engine.engine import Ended
from fanfold.model import lifecycle
from fanfold.model.commands import Batch, Outcome
from fanfold.store.at_work import AtWork
from tests.simulation import leaves
from tests.simulation.checks import check_root, check_rows
from tests.simulation.disk import open_store
from tests.simulation.faults import DATABASE, Plan
from tests.simulation.generate import Maker
from tests.simulation.invariants import History, broken
from tests.simulation.life import Life
from tests.simulation.loop import SimTime
from tests.simulation.settings import settings
from tests.simulation.zombie import return_of

LATEST_S = 900.0  # of virtual time: by then everything has ended
MOST_TURNS = 150_000  # of one life's loop
MOST_LIVES = 60
BOMBS = ("bomb", "sync_bomb")
EXPLODING_GROUP = ["within", ["collect", None, None, True], "end", [None, ["bomb", 1]], [None, ["work", 3, 0]]]
MOST_CRASHES, SUSPECT = 3, 2  # where a body is to blame for the deaths of its process


class Simulation:
    """One seed, from an empty store to the end of all runs."""

    def __init__(self, seed: int) -> None:
        self.plan = Plan(seed)
        self.has_bomb = Random(f"bomb {seed}").random() < 0.06
        if self.has_bomb:
            self.plan.settings |= {"MOST_CRASHES": MOST_CRASHES, "SUSPECT": SUSPECT}
            self.plan.kinds = DATABASE  # a crash from outside would be blamed on whoever is at work
        self.time = SimTime()
        self.store = open_store()
        self.database = self.store.writer
        self.history = History()
        self.trace: list[tuple[Any, ...]] = []
        self.violations: list[str] = []
        self.programs = [self._program(seed, root) for root in range(self.plan.roots)]
        if "task" in str(self.programs):
            # Timeouts are by the engine's clock, which follows a wall that is set forward.
            self.plan.jumps = [(when_s, skew_ms // 4) for when_s, skew_ms in self.plan.jumps]
        self.ended: dict[int, Ended] = {}  # by root, as its client was told
        self.cancelled: set[int] = set()  # roots that somebody outside cancelled
        self.is_tainted = False  # somebody outside cancelled an inner run: answers are anybody's guess
        self.has_lost_reports = False
        self.at_work = AtWork(None, 0)
        self.left_at_work: frozenset[int] = frozenset()  # by the life before, when it died
        self.asked: set[int] = set()  # roots that were asked to cancel, committed
        self.barred: set[int] = set()  # those of them of which the engine knows: nothing starts below
        self.explosions = 0
        self.begun: set[int] = set()  # runs whose bodies began in this life
        self.is_stopped = False  # it was stopped in good order, once
        self.executions: dict[tuple[int, int], int] = {}  # how often a body was started, by run and epoch
        self.life: Life | None = None
        self.lives = 0
        self._heap: list[Any] = []

    def _program(self, seed: int, root: int) -> list[Any]:
        code = Maker(Random(f"program {seed} {root}"), self.plan.size).program()
        # One alone: two that die by turns would take whoever runs beside them along.
        explode = (["explode", seed], ["explode_map", seed], EXPLODING_GROUP)[seed // 2 % 3]
        return ["gather", ["catch", explode], code] if self.has_bomb and not root else code

    # Running -------------------------------------------------------------------------------------------------------

    def run(self) -> list[str]:
        """Live until everything has ended; return what was violated."""
        with settings(self.plan, self):
            try:
                while self._live() and not self.violations:
                    pass
                if not self.violations:
                    self._check_end()
            finally:
                if self.life is not None:
                    self.life.kill()
                self.store.writer.connection.close(True)
        return self.violations

    def _live(self) -> bool:
        """Live once; return whether another life must follow."""
        self.lives += 1
        self.note("START", f"life {self.lives}")
        # Objects of the next life must not come to lie where those of the last one did.
        self._heap.append([object() for _ in range(self.plan.rng.randrange(200))])
        self.life = life = Life(self)
        how = life.loop.run(self._is_over, LATEST_S, MOST_TURNS)
        if self.violations or how == "over":
            return False
        if how != "dead":
            self.violate(f"stuck: the loop is {how}; unfinished {self.history.unfinished()[:6]}")
            return False
        if self.lives > MOST_LIVES:
            self.violate(f"{self.lives} lives and no end")
            return False
        life.kill()
        self.database.die()
        if self.plan.zombies:
            self.zombie = life.remains()
        self.time.now_s += self.plan.rng.choice((0.0, 0.01, 0.5, 20.0))
        return True

    def _is_over(self) -> bool:
        life = self.life
        if self.violations:
            return True
        return (
            life is not None
            and len(self.ended) == len(self.programs)
            and self.history.is_over
            and life.session.engine.commits.is_idle
            and not life.is_stopping
        )

    def crash(self) -> None:
        """Kill the engine here and now."""
        assert self.life is not None
        self.note("CRASH")
        # Before what the death itself ends gives its place back.
        self.left_at_work = frozenset(id for id in self.at_work.runs[1:] if id)
        self.life.loop.kill()

    def die(self) -> NoReturn:
        """Kill the engine from within a body."""
        if self.life is not None and not self.life.loop.is_dead:
            self.crash()
        raise leaves.Killed

    # What is seen --------------------------------------------------------------------------------------------------

    def note(self, what: str, *details: Any) -> None:
        """Write a line of the trace."""
        self.trace.append((round(self.time.now_s, 4), self.history.sequence, what, *details))

    def violate(self, what: str) -> None:
        """Record that something does not hold; the run ends."""
        if self.life is not None and self.life.loop.is_dead and self.violations:
            return
        self.note("VIOLATION", what)
        self.violations.append(what)
        if self.life is not None:
            self.life.loop.kill()

    def committed(self, batch: Batch, outcome: Outcome | BaseException) -> None:
        """Check the store after a commit, or after what should have been one."""
        assert self.life is not None
        if not isinstance(outcome, Outcome):
            self.note("REFUSED", batch.number, f"{type(outcome).__name__}: {outcome}")
            self._look(is_new=False)
            return
        self.note("COMMIT", batch.number, _summary(batch), _effects(outcome))
        asked = self.history.open_roots({cancel.id for cancel in batch.cancels})
        self._look(is_new=True)
        self.asked |= {id for id in asked if (self.history.state(id) or ("",))[0] != lifecycle.FAILED}
        for id in self.history.accused - {release.id for release in batch.releases}:
            self.violate(f"crashes: those of run {id} rose while its process lived")
        for progressed in batch.progress:
            if self.history.state(progressed.id) == (lifecycle.RUNNING, progressed.epoch):
                self._check_innocent(progressed.id)
        for id in outcome.retried | outcome.returned:
            self._check_innocent(id)
        if self.history.sequence != batch.number:
            self.violate(f"batch {batch.number} was reported, and the store is at {self.history.sequence}")

    def reported(self) -> None:
        """Take note that the engine knows of the last commit."""
        self.barred |= self.asked

    def _check_innocent(self, id: int) -> None:
        if self.history.crashes(id):
            self.violate(f"crashes: run {id} got on, and has {self.history.crashes(id)} still")

    def _look(self, *, is_new: bool) -> None:
        assert self.life is not None
        before = self.history.sequence, self.history.clock_ms
        for problem in self.history.broken(self.database.connection):
            if is_new or not problem.startswith("invariant 9"):
                self.violate(problem)
        if not is_new and self.history.sequence != before[0]:
            self.violate(f"batch {self.history.sequence} was refused, and is committed")
        for problem in broken(
            self.database.connection, self.life.session.engine.worker_id, self.plan.settings["WINDOW"]
        ):
            self.violate(problem)
        if is_new:
            self.life.check_clock(self.history.clock_ms)

    def recovered(self) -> None:
        """Check the store after the recovery at the start of a life."""
        held = {id for id in self.at_work.before if (self.history.state(id) or ("",))[0] == lifecycle.RUNNING}
        self._look(is_new=True)
        self.reported()
        for id in held - self.history.accused:
            self.violate(f"crashes: run {id} was at work, and is not blamed")
        for id in self.history.accused - self.begun:
            self.violate(f"crashes: the death counts against run {id}, whose body had not begun")
        self.begun.clear()

    # What bodies tell ----------------------------------------------------------------------------------------------

    def delay_s(self, context: Any, ms: int) -> float:
        """Take note that a body starts, and say how long it takes."""
        if self.life is None or self.life.loop.is_dead:
            raise leaves.Killed  # its process has died, in the same callback
        run = context._run
        epoch = getattr(run, "epoch", 1)
        self.note("BODY", f"{run.name} {run.id} epoch {epoch} {run.input}")
        state = self.history.state(run.id)
        if state != (lifecycle.RUNNING, epoch):
            self.violate(f"the body of run {run.id} started in epoch {epoch}, its row says {state}")
        if run.root_id in self.barred and not run.compensates:
            self.violate(f"cancel: the body of run {run.id} starts, and its root was asked to cancel before")
        self.begun.add(run.id)
        if run.name in BOMBS:
            self.explosions += 1
            if self.explosions > MOST_CRASHES:
                self.violate(f"run {run.id} has killed {MOST_CRASHES} processes, and is started again")
        if self.history.has_completed_before(run.id):
            self.violate(f"groups: the body of run {run.id} starts, and an earlier attempt's member has its result")
        place = run.id, epoch
        self.executions[place] = self.executions.get(place, 0) + 1
        if self.executions[place] > 1:
            self.violate(f"the body of run {run.id} started twice in epoch {epoch}")
        extra = Random(f"{run.id} {epoch} {self.plan.size}").random() if self.plan.slow_bodies else 0.0
        return ms / 1000 + (self.plan.slow_bodies if extra > 0.7 else 0.0)

    def is_asked(self, id: int) -> bool:
        """Tell whether a run was asked to cancel."""
        return self.history.is_asked(id)

    def generation_of(self, group_id: int) -> int:
        """Tell which attempt of its owner made a group."""
        return leaves.generation(self.history.key(group_id))

    def told(self, root: int, ended: Ended) -> None:
        """Take note of what a root's client hears."""
        state = self.history.state(ended.id)
        if state is None or state[0] != ended.state:
            self.violate(f"root {ended.id} was reported as {ended.state}, its row says {state}")
        self.note("ENDED", root, ended.state, ended.output or (ended.error or "")[:300])
        if ended.state == lifecycle.PAUSED:
            self.violate(f"root {ended.id} stands still: {(ended.error or '')[:300]}")
        self.ended[root] = ended

    def raise_zombie(self) -> None:
        """Let what the last life still had in its hands arrive late."""
        remains, self.zombie = self.zombie, None
        if remains is not None and self.life is not None:
            self.note("ZOMBIE", _summary(remains[0]))
            for problem in return_of(self.database, *remains, self.life.clock.now_ms()):
                self.violate(problem)

    zombie: tuple[Batch, int] | None = None

    # At the end ----------------------------------------------------------------------------------------------------

    def _check_end(self) -> None:
        for root, code in enumerate(self.programs):
            problem = check_root(code, self.ended[root], is_cancelled=root in self.cancelled or self.is_tainted)
            if problem:
                self.violate(problem)
        for problem in check_rows(self.database.connection, is_tainted=self.is_tainted):
            self.violate(problem)


def _summary(batch: Batch) -> str:
    names = (
        "new",
        "seals",
        "claims",
        "drops",
        "progress",
        "returns",
        "siblings",
        "ends",
        "pages",
        "checkpoints",
        "folds",
        "retries",
        "quarantines",
        "settles",
        "evictions",
        "blocks",
        "releases",
        "resumes",
        "cancels",
    )
    said = [f"{name} {_brief(getattr(batch, name))}" for name in names if getattr(batch, name)]
    return "; ".join([*said, *(["fires timers"] if batch.fires_timers else [])])


def _brief(commands: list[Any]) -> str:
    return " ".join(
        f"{c.id}:{c.name}/{c.key}/{c.state}" if hasattr(c, "key")
        else f"{c.id}:{c.end.state}+{_brief(c.new)}" if hasattr(c, "new")
        else f"{c.id}:{c.output}/{c.progress}" if hasattr(c, "upto")
        else f"{c.id}:{c.state}" if hasattr(c, "state")
        else f"{c.queue or 'suspects'}:{c.most}{c.ids or ''}" if hasattr(c, "most")
        else str(getattr(c, "id", c))
        for c in commands
    )  # fmt: skip


def _effects(outcome: Outcome) -> str:
    said = [
        f"{name} {found}"
        for name in ("refused", "lost", "retried", "returned", "evicted", "told", "stopping", "flagged", "next_timer")
        if (found := getattr(outcome, name))
    ]
    ended = [
        f"{parent}<-{','.join(str(end.id) for end in ends)}@{outcome.first_seq[parent]}"
        for parent, ends in outcome.ended.items()
    ]
    claimed = [f"{run.id}e{run.epoch}" for run in outcome.claimed]
    return "; ".join(
        said + [f"ended {' '.join(ended)}"] * bool(ended) + [f"claimed {' '.join(claimed)}"] * bool(claimed)
    )
