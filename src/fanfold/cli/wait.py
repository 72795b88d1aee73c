"""`fanfold wait RUN`: wait for a run that another process works on; the exit code says how it ended."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

import click

from fanfold.cli import exit_codes
from fanfold.cli.output import RUN_ID, store_option

if TYPE_CHECKING:
    from fanfold.engine.engine import Ended


@click.command()
@click.argument("id", metavar="RUN", type=RUN_ID)
@click.option(
    "--timeout", type=click.FloatRange(0), metavar="S", help="Wait so many seconds at most; then exit with 7."
)
@store_option
def wait(id: int, url: str, timeout: float | None) -> None:
    """Wait for a run to end and print its result as JSON.

    Needs no app and starts no engine: it looks at the store, where another process does the work. Exits with 5 if the
    run failed, 6 if it was cancelled, 7 if it has not ended in time; the run goes on then.
    """
    from fanfold.errors import NonDeterminism
    from fanfold.model import lifecycle
    from fanfold.worker.failures import child_error

    try:
        name, ended = asyncio.run(_wait(url, id, timeout))
    except TimeoutError:
        click.echo(f"Error: run {id} has not ended after {timeout:g} s; it goes on", err=True)
        sys.exit(exit_codes.WAIT_TIMED_OUT)
    if ended.state == lifecycle.PAUSED:
        raise NonDeterminism(f"run {id} of {name} is paused: {ended.error}")
    if ended.state != lifecycle.COMPLETED:
        raise child_error(name, id, ended.state, ended.error)
    click.echo(ended.output or "null")


async def _wait(url: str, id: int, timeout: float | None) -> tuple[str, Ended]:
    from fanfold.run import Place

    place = Place(lambda: None, lambda: url)
    name, _ = await place.ask(lambda queries: queries.name_and_key(id))
    async with asyncio.timeout(timeout):
        return name, await place.wait(id)
