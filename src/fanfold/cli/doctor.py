"""`fanfold doctor`: is this machine and this store fit for work? Looks only, unless it is told to accept the clock."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import os
import platform
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from fanfold.cli.output import Format, format_option, safe, seconds, store_option, when, write_json

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from fanfold.model.run import RunStatus

MOST_BLOCKED = 20
TRIES = 20  # commits that are measured
BLOCK = b"\0" * 4096


class Fact(NamedTuple):
    """One line of the report; with `trouble`, something must be done."""

    name: str
    value: Any
    text: str
    trouble: str | None = None


@click.command()
@click.option("--accept-clock", is_flag=True, help="Take the wall clock for right after the store was written ahead.")
@store_option
@format_option
def doctor(url: str, format: Format, accept_clock: bool) -> None:  # noqa: FBT001 - click passes flags
    """Look at the versions, the store, the disk and the clock; exit with 1 if something must be done."""
    from fanfold.errors import StoreUnavailable
    from fanfold.store.opening import store_path

    if accept_clock:
        _accept_clock(url)
    path = store_path(url)
    facts = [*_versions(), Fact("store", url, url)]
    unavailable: StoreUnavailable | None = None
    if path is not None:
        try:
            facts += _store(url, path)
        except StoreUnavailable as error:
            unavailable = error
        facts += asyncio.run(_disk(path.parent))
    _report(facts, format)
    if unavailable is not None:
        raise unavailable
    if any(fact.trouble for fact in facts):
        sys.exit(1)


def _report(facts: list[Fact], format: Format) -> None:
    if format == "table":
        for fact in facts:
            click.echo(f"{click.style(fact.name.ljust(16), bold=True)} {safe(fact.text)}")
    else:
        values = {fact.name.replace(" ", "_"): fact.value for fact in facts}
        values["troubles"] = [fact.trouble for fact in facts if fact.trouble]
        write_json([values], format)
    for fact in facts:
        if fact.trouble:
            click.echo(f"{fact.name}: {fact.trouble}", err=True)


def _versions() -> list[Fact]:
    from fanfold.store.sqlite import library_version

    found = {
        "fanfold": importlib.metadata.version("fanfold"),
        "python": platform.python_version(),
        "sqlite": library_version(),
    }
    return [Fact(name, version, version) for name, version in found.items()]


def _store(url: str, path: Path) -> list[Fact]:
    from fanfold.store.opening import lock_holder

    if not path.exists():
        return [Fact("file", None, "not made yet; the first run makes it")]
    log = path.with_name(path.name + "-wal")
    wal_bytes = log.stat().st_size if log.exists() else 0
    size = path.stat().st_size
    pid = lock_holder(path)
    return [
        Fact("file", str(path.resolve()), str(path.resolve())),
        Fact("size", size, f"{size / 1e6:,.1f} MB"),
        Fact("log size", wal_bytes, f"{wal_bytes / 1e6:,.1f} MB"),
        Fact("engine", pid, "none" if pid is None else f"process {pid}"),
        *asyncio.run(_contents(url)),
    ]


async def _contents(url: str) -> list[Fact]:
    from fanfold.model import lifecycle
    from fanfold.store.opening import reading

    async with reading(url) as queries:
        version, *_, clock_ms = await queries.meta()
        counts = await queries.count_runs()
        blocked = await queries.runs(state=lifecycle.PAUSED, most=MOST_BLOCKED)
    shown = ", ".join(f"{counts[state]:,} {state}" for state in lifecycle.STATES if state in counts)
    return [
        Fact("schema", version, str(version)),
        _clock(clock_ms),
        Fact("runs", counts, shown or "none"),
        *([_paused(blocked, counts[lifecycle.PAUSED])] if blocked else []),
    ]


def _clock(store_ms: int) -> Fact:
    from fanfold.model.clock import MAX_AHEAD_MS, wall_ms

    ahead_ms = store_ms - wall_ms()
    told = f"last written {when(store_ms)}, " if store_ms else "not written yet, "
    told += f"{seconds(ahead_ms)} ahead of this machine" if ahead_ms > 0 else "not ahead of this machine"
    trouble = (
        "the machine's clock is or was wrong. Set it, or accept it as it is with `fanfold doctor --accept-clock`"
        if ahead_ms > MAX_AHEAD_MS
        else None
    )
    return Fact("clock", {"store_ms": store_ms, "ahead_ms": max(ahead_ms, 0)}, told, trouble)


def _paused(blocked: list[RunStatus], number: int) -> Fact:
    from fanfold.model import lifecycle

    told = "; ".join(f"run {run.id} of {run.name}: {run.blocked or lifecycle.PAUSED}" for run in blocked)
    more = f"; and {number - len(blocked):,} more" if number > len(blocked) else ""
    return Fact(
        lifecycle.PAUSED,
        [{"id": run.id, "name": run.name, "blocked": run.blocked} for run in blocked],
        told + more,
        f"{number:,} {'run stands' if number == 1 else 'runs stand'} still until somebody deals with the reason: put "
        f"the code back and start the program again, or start afresh. `fanfold runs list --state {lifecycle.PAUSED}`",
    )


async def _disk(folder: Path) -> list[Fact]:
    """Measure what a commit costs where the store is, in a scratch folder beside it."""
    try:
        scratch = Path(tempfile.mkdtemp(prefix=".fanfold-doctor-", dir=folder))
    except OSError as error:
        return [Fact("disk", None, f"{folder} cannot be written", f"{folder}: {error.strerror}")]
    try:
        sync_ms = await _measure(_syncing(scratch / "scratch"))
        commit_ms = await _measure(_committing(scratch / "scratch.db"))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return [
        Fact("sync", sync_ms, f"{sync_ms:.2f} ms for 4 KiB to be safe on the disk"),
        Fact("commit", commit_ms, f"{commit_ms:.2f} ms for a transaction of one row"),
    ]


async def _measure(opened: contextlib.AbstractContextManager[Callable[[], Awaitable[None]]]) -> float:
    from fanfold.model.clock import monotonic_ms

    with opened as once:
        await once()
        before = monotonic_ms()
        for _ in range(TRIES):
            await once()
        return (monotonic_ms() - before) / TRIES


@contextlib.contextmanager
def _syncing(path: Path) -> Any:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)

    async def once() -> None:
        os.write(descriptor, BLOCK)
        os.fsync(descriptor)

    try:
        yield once
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _committing(path: Path) -> Any:
    from fanfold.store.sqlite import SqliteDatabase

    database = SqliteDatabase(str(path))
    database.script("CREATE TABLE scratch (id INTEGER PRIMARY KEY)")

    async def once() -> None:
        await database.begin()
        await database.execute("INSERT INTO scratch DEFAULT VALUES", {})
        await database.commit()

    try:
        yield once
    finally:
        database.close()


def _accept_clock(url: str) -> None:
    from fanfold.errors import StoreUnavailable
    from fanfold.model.clock import wall_ms
    from fanfold.store.opening import accept_clock, store_path

    path = store_path(url)
    if path is None or not path.exists():
        raise StoreUnavailable(f"there is no store {url}; --store and FANFOLD_STORE say where it is")
    ahead_ms, moved = asyncio.run(accept_clock(url, wall_ms()))
    if ahead_ms <= 0:
        click.echo("the store is not ahead of this machine's clock; nothing to do", err=True)
    else:
        click.echo(f"accepted: the store was {seconds(ahead_ms)} ahead; {moved:,} pending runs moved", err=True)
