"""One life of the engine: from its start to its end, its crash, or its stop in good order."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from fanfold.engine.writers import Done, drive
from fanfold.errors import FanfoldError
from fanfold.model.clock import Clock
from fanfold.model.commands import Batch
from fanfold.session import Session
from fanfold.store.at_work import AtWork
from fanfold.store.store import Store
from fanfold.worker.task import CallOptions
from tests.simulation.loop import SimClock, SimLoop
from tests.simulation.programs import app, program
from tests.simulation.writer import SimWriter

PLACES = 2_000  # for bodies at work

if TYPE_CHECKING:
    from tests.simulation.simulation import Simulation


class Life:
    """A loop, a session on it, and the clients that talk to it."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = sim = simulation
        self.loop = SimLoop(sim.time, self._on_error)
        self.clock = SimClock(sim.time)
        self.is_stopping = False
        self._writers: list[SimWriter] = []
        self._clock_base: tuple[int, int] | None = None
        self.loop.call_soon(self._begin)

    def _begin(self) -> None:
        sim, loop = self._simulation, self.loop
        sim.at_work, sim.left_at_work = AtWork(None, PLACES, sim.left_at_work), frozenset()
        self.session = Session(
            sim.store, self.clock, app.tasks, slots=sim.plan.slots, threads=0, version="1", make_writer=self._writer,
            at_work=sim.at_work,
        )  # fmt: skip
        drive(self.session.open())
        sim.recovered()
        now = sim.time.now_s
        for root in range(len(sim.programs)):
            if root not in sim.ended:
                loop.create_task(self._client(root))
        plan = sim.plan
        for when_s, skew_ms in plan.jumps:
            if when_s >= now:
                loop.call_at(when_s, self._jump, skew_ms)
        for when_s in plan.cancel_root_at:
            if when_s >= now:
                loop.call_at(when_s, self._cancel_root)
        if plan.cancel_inner_at is not None and plan.cancel_inner_at >= now:
            loop.call_at(plan.cancel_inner_at, self._cancel_inner)
        if plan.stop_at is not None and not sim.is_stopped:
            loop.call_at(max(plan.stop_at, now), self._stop)
        if sim.zombie is not None:
            loop.call_later(plan.rng.random() * 0.05, sim.raise_zombie)

    def _writer(self, store: Store, clock: Clock, done: Done) -> SimWriter:
        writer = SimWriter(store, clock, done, self._simulation)
        self._writers.append(writer)
        return writer

    async def _client(self, root: int) -> None:
        """Start a root by its key, as a client does that tries again after each crash, and wait for its end."""
        sim, session = self._simulation, self.session
        options = CallOptions(key=f"root-{root}")
        code = sim.programs[root]
        id = await session.start(session.new_root(program, options, (code,), {}))
        again = await session.start(session.new_root(program, options, (code,), {}))
        if again != id:
            sim.violate(f"root {root} was started twice: runs {id} and {again}")
        try:
            other = await session.start(session.new_root(program, options, (["call", 1, 1],), {}))
            sim.violate(f"root {root}: another input under its key was taken as run {other}")
        except FanfoldError as conflict:
            if type(conflict).__name__ != "KeyConflict":
                raise
        sim.told(root, await session.engine.wait(id))

    def _on_error(self, context: dict[str, Any]) -> None:
        error = context.get("exception")
        self._simulation.violate(f"an error on the loop: {context.get('message')} {error!r}")

    # What comes from outside ---------------------------------------------------------------------------------------

    def _jump(self, skew_ms: int) -> None:
        self._simulation.note("WALL", f"{skew_ms:+} ms")
        self._simulation.time.skew_ms = skew_ms

    def _roots(self) -> list[int]:
        rows = self._simulation.database.connection.execute("SELECT id FROM runs WHERE parent_id = 0 ORDER BY id")
        return [id for (id,) in rows]

    def _cancel_root(self) -> None:
        if self._roots() and not self.is_stopping:
            self._simulation.note("CANCEL", "the first root")
            self._simulation.cancelled.add(self._number(self._roots()[0]))
            self.session.engine.commits.cancel(self._roots()[:1], is_again=True)

    def _number(self, id: int) -> int:
        ((key,),) = self._simulation.database.connection.execute("SELECT key FROM runs WHERE id = ?", (id,))
        return int(key.rpartition("-")[2])

    def _cancel_inner(self) -> None:
        sim = self._simulation
        rows = sim.database.connection.execute(
            "SELECT kind, json_group_array(id ORDER BY id) FROM runs WHERE parent_id <> 0 AND finished_at IS NULL "
            "AND kind IN ('task', 'workflow', 'group') GROUP BY kind ORDER BY kind"
        ).fetchall()
        if rows and not self.is_stopping:
            _, ids = sim.plan.rng.choice(rows)
            id = sim.plan.rng.choice(json.loads(str(ids)))
            sim.note("CANCEL", f"run {id}")
            sim.is_tainted = True
            self.session.engine.commits.cancel([id])

    def _stop(self) -> None:
        self.is_stopping = True
        self._simulation.note("STOP", f"grace {self._simulation.plan.grace_s} s")
        self.loop.create_task(self._stop_in_order())

    async def _stop_in_order(self) -> None:
        sim = self._simulation
        await self.session.close(sim.plan.grace_s)
        held = sim.database.connection.execute("SELECT id FROM runs WHERE state = 'running'").fetchall()
        if held and not sim.has_lost_reports:  # what it does not know of it cannot give back
            sim.violate(f"stopped in good order, and still held: {held}")
        sim.is_stopped = True
        sim.note("STOPPED")
        self.loop.kill()

    # The clock, and the end ----------------------------------------------------------------------------------------

    def check_clock(self, now_ms: int) -> None:
        """The engine clock goes on at half speed at least, and is never behind the wall."""
        sim = self._simulation
        monotonic = sim.time.monotonic_ms()
        if self._clock_base is None:
            self._clock_base = now_ms, monotonic
        engine, before = self._clock_base
        if now_ms - engine < (monotonic - before) // 2 - 5:
            sim.violate(f"clock: it made {now_ms - engine} ms in {monotonic - before} ms")

    def kill(self) -> None:
        """Leave nothing of this life that could run."""
        self.loop.kill()
        if hasattr(self, "session"):
            self.session.abandon()
        self.loop.bury()

    def remains(self) -> tuple[Batch, int]:
        """Return what this life had not committed, and who it was."""
        commits = self.session.engine.commits
        batches = [writer.under_way for writer in self._writers if writer.under_way is not None]
        last = batches[0] if batches else Batch()
        rest = commits._take()
        return (
            Batch(
                new=[*last.new, *rest.new], seals=[*last.seals, *rest.seals], siblings=[*last.siblings, *rest.siblings],
                pages=[*last.pages, *rest.pages], checkpoints=[*last.checkpoints, *rest.checkpoints],
                folds=[*last.folds, *rest.folds], progress=[*last.progress, *rest.progress],
                returns=[*last.returns, *rest.returns], ends=[*last.ends, *rest.ends],
                retries=[*last.retries, *rest.retries],
                evictions=[*last.evictions, *rest.evictions], blocks=[*last.blocks, *rest.blocks],
            ),
            self.session.engine.worker_id,
        )  # fmt: skip
