"""`fanfold runs`: what is in a store, read beside a running engine or without one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from fanfold.cli import filters
from fanfold.cli.output import (
    RUN_ID,
    Format,
    child_counts,
    format_option,
    key,
    progress,
    safe,
    safe_lines,
    store_option,
    took,
    when,
    write_json,
    write_table,
)
from fanfold.model import lifecycle
from fanfold.model.codec import encode_text

if TYPE_CHECKING:
    from fanfold.model.run import RunStatus

F = TypeVar("F", bound=Callable[..., Any])
PAGE = 1_000


@click.group()
def runs() -> None:
    """List and look at the runs of a store."""


def filter_options(command: F) -> F:
    """Add `--state`, `--task` and `--limit`."""
    for option in (
        click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="How many at most."),
        click.option("--task", metavar="NAME", help="Only runs of this task or workflow."),
        click.option("--state", type=click.Choice(lifecycle.STATES), help="Only runs in this state."),
    ):
        command = option(command)
    return command


@runs.command("list")
@filter_options
@click.option("--tag", "tags", type=filters.tag, metavar="NAME=VALUE", multiple=True, help="Only runs with this tag.")
@click.option("--since", "since_ms", type=filters.since, metavar="WHEN", help="Only runs made since then, as 1h or 2d.")
@click.option("--roots", is_flag=True, help="Only runs that were started from outside, no children.")
@store_option
@format_option
def list_(
    url: str, format: Format, *, roots: bool, limit: int, tags: tuple[tuple[str, str], ...], **wanted: Any
) -> None:
    """List runs, newest first."""
    wanted |= {"tags": dict(tags), "name": wanted.pop("task"), "parent_id": 0 if roots else None}
    _write(asyncio.run(_list(url, limit, wanted)), format, limit, "newest")


async def _list(url: str, limit: int, wanted: dict[str, Any]) -> list[RunStatus]:
    from fanfold.store.opening import reading
    from fanfold.store.queries import NEWEST

    found: list[RunStatus] = []
    before = NEWEST
    async with reading(url) as queries:
        while len(found) < limit:
            page = await queries.runs(before=before, most=min(limit - len(found), PAGE), **wanted)
            if not page:
                break
            found += [run for run in page if wanted["tags"].items() <= run.tags.items()]
            before = page[-1].id
    return found


def _write(found: list[RunStatus], format: Format, limit: int, which: str) -> None:
    if format != "table":
        write_json(found, format)
        return
    rows = [
        (str(run.id), run.name, run.state, key(run), child_counts(run), when(run.created_at), took(run))
        for run in found
    ]
    if rows:
        write_table(("ID", "TASK", "STATE", "KEY", "CHILDREN", "CREATED", "TOOK"), rows, styled=2)
    else:
        click.echo("no runs", err=True)
    if len(found) == limit:
        click.echo(f"the {which} {limit}; --limit shows more", err=True)


@runs.command()
@click.argument("id", type=RUN_ID)
@store_option
@format_option
def show(id: int, url: str, format: Format) -> None:
    """Show one run: its input, its result or error, how its children stand."""
    status, attempts = asyncio.run(_status(url, id))
    if format == "table":
        _show(status, attempts)
        return
    failed = [{"attempt": number, "finished_at": at, "error": error} for number, at, error in attempts]
    shown = to_builtins(status) | {"failed_attempts": failed}
    if format == "jsonl":
        write_json([shown], format)
    else:
        click.echo(msgspec_json(shown))


def to_builtins(status: RunStatus) -> dict[str, Any]:
    """Return a status as a dict."""
    import msgspec

    return msgspec.to_builtins(status)


def msgspec_json(status: Any) -> bytes:
    """Return one value as readable JSON."""
    import msgspec

    return msgspec.json.format(msgspec.json.encode(status), indent=2)


async def _status(url: str, id: int) -> tuple[RunStatus, list[tuple[int, int, dict[str, Any]]]]:
    """Return a run and its failed attempts that were followed by another: (number, when, error)."""
    from fanfold.model.codec import decode_text
    from fanfold.store.opening import reading

    async with reading(url) as queries:
        status = await queries.status(id)
        attempts = await queries.attempts(id)
    return status, [(number, at, decode_text(error)) for number, at, error in attempts]


def _show(status: RunStatus, attempts: list[tuple[int, int, dict[str, Any]]]) -> None:
    lines = [
        ("run", f"{status.id} of {status.kind} {status.name}"),
        ("state", status.state),
        ("blocked", status.blocked),
        ("key", key(status)),
        ("parent", str(status.parent_id) if status.parent_id else None),
        ("root", str(status.root_id) if status.root_id != status.id else None),
        ("children", child_counts(status)),
        ("progress", progress(status)),
        ("attempt", str(status.attempt)),
        ("version", status.version),
        ("tags", encode_text(status.tags) if status.tags else None),
        ("created", when(status.created_at)),
        ("started", when(status.started_at)),
        ("finished", when(status.finished_at)),
        ("took", took(status)),
        ("input", None if status.input is None else encode_text(status.input)),
        ("output", encode_text(status.output) if status.state == lifecycle.COMPLETED else None),
    ]
    for number, at, failed in attempts:
        lines.append((f"failed {number}", f"{when(at)}  {failed.get('type')}: {failed.get('message', '')}"))
    error = status.error or {}
    if error:
        lines.append(("error", f"{error.get('type', 'Exception')}: {error.get('message', '')}"))
    for name, value in lines:
        if value:
            click.echo(f"{click.style(name.ljust(9), bold=True)} {safe(value)}")
    if error.get("traceback"):
        click.echo(f"\n{safe_lines(error['traceback'])}")


@runs.command()
@click.argument("id", type=RUN_ID)
@click.option("--depth", type=click.IntRange(0), default=3, show_default=True, help="How many levels below the run.")
@click.option("--width", type=click.IntRange(1), default=10, show_default=True, help="How many children of each run.")
@store_option
@format_option
def tree(id: int, url: str, format: Format, depth: int, width: int) -> None:
    """Show a run with its children and theirs; those that do not fit are counted by state."""
    from fanfold.cli.tree import read_tree

    node = asyncio.run(read_tree(url, id, depth, width))
    if format == "json":
        click.echo(msgspec_json(node))
    elif format == "jsonl":
        write_json(list(node.statuses()), format)
    else:
        for line in node.lines():
            click.echo(line)


@runs.command()
@click.argument("id", type=RUN_ID)
@filter_options
@store_option
@format_option
def children(id: int, url: str, format: Format, *, state: str | None, task: str | None, limit: int) -> None:
    """List the children of a run, oldest first, without timers and events."""
    _write(asyncio.run(_children(url, id, state, task, limit)), format, limit, "oldest")


async def _children(url: str, id: int, state: str | None, name: str | None, limit: int) -> list[RunStatus]:
    from fanfold.store.opening import reading

    found: list[RunStatus] = []
    async with reading(url) as queries:
        await queries.name_and_key(id)  # NotFound if there is no such run
        while len(found) < limit:
            after, most = found[-1].id if found else 0, min(limit - len(found), PAGE)
            page = await queries.tree_level(id, after, most, state=state, name=name, shows_waits=False)
            if not page:
                break
            found += page
    return found
