"""`fanfold run app.py:task`: start or go on, show progress on stderr, print the result on stdout."""

from __future__ import annotations

import json
from typing import Any, NoReturn, cast

import click


@click.command()
@click.argument("target", metavar="APP.PY:TASK")
@click.option("--input", "text", default="{}", metavar="JSON", help="An object of arguments by name, or an array.")
@click.option("--key", help="Name of the run: the same key and input is the same run, its result is printed again.")
@click.option("--store", metavar="URL", help="Where the runs live; else the app's own, FANFOLD_STORE, fanfold.db.")
def run(target: str, text: str, key: str | None, store: str | None) -> None:
    """Run a task or workflow to its end and print its result as JSON.

    Goes on with what an earlier, interrupted run of the same task and input left behind.
    """
    from fanfold.cli.target import find
    from fanfold.main import Call, run_to_end
    from fanfold.worker.task import CallOptions

    args, kwargs = read_input(text)
    options = CallOptions(key)
    app, task = find(target)
    result = run_to_end(app, Call(task, options, args, kwargs), store=store, owns_process=True)
    output, _ = task.signature.result.encode(result)
    click.echo(output)


def read_input(text: str) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the positional and keyword arguments that a JSON text holds; click's UsageError where it is none."""
    try:
        value: object = json.loads(text, parse_constant=_refuse_constant)
    except RecursionError:
        raise click.UsageError("--input is nested too deeply") from None
    except json.JSONDecodeError as error:
        raise click.UsageError(f"--input is no JSON: {error.msg}, at character {error.pos + 1} of {text!r}") from None
    if isinstance(value, dict):
        return (), cast("dict[str, Any]", value)
    if isinstance(value, list):
        return tuple(cast("list[Any]", value)), {}
    raise click.UsageError('--input is an object of arguments by name, as {"n": 10}, or an array, as [10]')


def _refuse_constant(name: str) -> NoReturn:
    raise click.UsageError(f"--input has {name}, which is no JSON")
