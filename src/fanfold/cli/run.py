"""`fanfold run app.py:task`: start or go on, show progress on stderr, print the result on stdout."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, cast

import click

if TYPE_CHECKING:
    from fanfold.app import App
    from fanfold.main import Call


F = TypeVar("F", bound=Callable[..., Any])


def call_options(command: F) -> F:
    """Add what says which call is meant: the target, `--input`, `--key`, `--store`."""
    for option in (
        click.option(
            "--store", metavar="URL", help="Where the runs live; else the app's own, FANFOLD_STORE, fanfold.db."
        ),
        click.option("--key", help="Name of the run: the same key and input is the same run, with its result."),
        click.option(
            "--input", "text", default="{}", metavar="JSON", help="Arguments: an object by name, or an array."
        ),
        click.argument("target", metavar="APP.PY:TASK"),
    ):
        command = option(command)
    return command


@click.command()
@call_options
def run(target: str, text: str, key: str | None, store: str | None) -> None:
    """Run a task or workflow to its end and print its result as JSON.

    Goes on with what an earlier, interrupted run of the same task and input left behind.
    """
    from fanfold.main import run_to_end

    app, call = read_call(target, text, key)
    result = run_to_end(app, call, store=store, owns_process=True)
    output, _ = call.task.signature.result.encode(result)
    click.echo(output)


def read_call(target: str, text: str, key: str | None) -> tuple[App, Call]:
    """Return the app and the call that a command line means; click's UsageError says what is wrong with it."""
    from fanfold.cli.target import find
    from fanfold.main import Call
    from fanfold.worker.task import CallOptions

    args, kwargs = read_input(text)
    options = CallOptions(key)
    app, task = find(target)
    return app, Call(task, options, args, kwargs)


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
