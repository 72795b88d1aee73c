"""What goes to stdout: tables for people, JSON for programs. Text of users never reaches the terminal as a command."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Literal, TypeVar

import click
import msgspec

from fanfold.model import lifecycle
from fanfold.model.run import RunStatus
from fanfold.progress import done

F = TypeVar("F", bound=Callable[..., Any])
Format = Literal["table", "json", "jsonl"]

RUN_ID = click.IntRange(1, (1 << 63) - 1)
STYLES = {
    lifecycle.COMPLETED: "green",
    lifecycle.FAILED: "red",
    lifecycle.CANCELLED: "yellow",
    lifecycle.PAUSED: "magenta",
    lifecycle.RUNNING: "cyan",
}


def store_option(command: F) -> F:
    """Add `--store`."""
    option = click.option(
        "--store", "url", metavar="URL", envvar="FANFOLD_STORE", default="sqlite:///fanfold.db", show_default=True,
        help="The store; else FANFOLD_STORE.",
    )  # fmt: skip
    return option(command)


def format_option(command: F) -> F:
    """Add `-o`."""
    choice = click.Choice(["table", "json", "jsonl"])
    return click.option("-o", "--output", "format", type=choice, default="table", show_default=True)(command)


def write_json(values: Sequence[Any], format: Format) -> None:
    """Print values as one JSON array, or one a line."""
    if format == "jsonl":
        for value in values:
            click.echo(msgspec.json.encode(value))
    else:
        click.echo(msgspec.json.format(msgspec.json.encode(values), indent=2))


def write_table(columns: Sequence[str], rows: Sequence[Sequence[str]], styled: int | None = None) -> None:
    """Print rows under their titles; the cells of column `styled` are states."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, no_wrap=True)
    for row in rows:
        cells = [Text(safe(cell)) for cell in row]
        if styled is not None:
            cells[styled].stylize(STYLES.get(row[styled], ""))
        table.add_row(*cells)
    # Where nobody looks at it, nothing is cut off.
    Console(file=sys.stdout, width=None if sys.stdout.isatty() else 100_000, highlight=False).print(table)


def safe(text: str) -> str:
    """Return a text in which nothing but letters is left: escape sequences are shown, not obeyed."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


def safe_lines(text: str) -> str:
    """Return a text of several lines without escape sequences."""
    return "\n".join(safe(line.expandtabs()) for line in text.splitlines())


def when(ms: int | None) -> str:
    """Return an instant in local time."""
    if ms is None:
        return ""
    try:
        return datetime.fromtimestamp(ms / 1000).astimezone().isoformat(" ", "seconds")[:19]
    except (ValueError, OverflowError, OSError):
        return f"{ms} ms"


def took(status: RunStatus) -> str:
    """Return how long an ended run took."""
    if status.started_at is None or status.finished_at is None:
        return ""
    return seconds(status.finished_at - status.started_at)


def seconds(ms: float) -> str:
    """Return a length of time."""
    if ms < 1_000:
        return f"{ms:.0f} ms"
    if ms < 120_000:
        return f"{ms / 1000:.1f} s"
    minutes = round(ms / 60_000)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


def key(status: RunStatus) -> str:
    """Return the key that a caller chose."""
    return status.key or ""


def progress(status: RunStatus) -> str:
    """Return what a run said of itself: `40 of 100, reading page 40`."""
    said = status.progress or {}
    total, message = said.get("total"), said.get("message")
    far = f"{said['done']:,}" + ("" if total is None else f" of {total:,}") if "done" in said else ""
    return ", ".join(part for part in (far, message) if part)


def child_counts(status: RunStatus) -> str:
    """Return how the children stand, in a few words."""
    counts = status.children
    if not counts.spawned:
        return ""
    parts = [f"{done(counts):,}/{counts.spawned:,}"]
    parts += [f"{counts.running:,} running"] if counts.running else []
    parts += [f"{counts.failed:,} failed"] if counts.failed else []
    parts += [f"{counts.cancelled:,} cancelled"] if counts.cancelled else []
    return ", ".join(parts)
