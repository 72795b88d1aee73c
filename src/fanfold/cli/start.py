"""`fanfold start app.py:task`: record a run and print its id; nothing of it is done here."""

from __future__ import annotations

import asyncio

import click

from fanfold.cli.run import call_options, read_call


@click.command()
@call_options
def start(target: str, text: str, key: str | None, store: str | None) -> None:
    """Record a run of a task or workflow and print its id.

    There is no server: it is done by whichever program opens the store next, with `async with app`, app.run or
    `fanfold run`. While a program is at work on the store, the run is started there (exit code 8 names the process).
    """
    from fanfold.main import record

    app, call = read_call(target, text, key)
    call.task.signature.encode(call.args, call.kwargs)  # wrong arguments are an error before a store is made
    click.echo(asyncio.run(record(app, call, store or app.store)))
