"""The command's entry: its groups, imported when they are asked for, and the exit code of every error.

`fanfold --help` imports no command. An error that was to be expected is one message on stderr, never a traceback.
"""

from __future__ import annotations

import difflib
import importlib
import os
import sys
from collections.abc import Mapping
from typing import Any, NoReturn

import click

from fanfold import errors
from fanfold.cli import exit_codes

COMMANDS = {
    "run": ("fanfold.cli.run:run", "Run a task or workflow to its end and print its result."),
    "start": ("fanfold.cli.start:start", "Record a run, to be done by whoever opens the store next; print its id."),
    "wait": ("fanfold.cli.wait:wait", "Wait for a run that another process works on, and print its result."),
    "runs": ("fanfold.cli.runs:runs", "List and look at the runs of a store."),
    "doctor": ("fanfold.cli.doctor:doctor", "Look at the store, the disk and the clock."),
}


class LazyGroup(click.Group):
    """A group whose commands are imported when they are used; their one-line help stands in a table."""

    def __init__(self, *args: Any, lazy: Mapping[str, tuple[str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._lazy = lazy

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the names of the commands."""
        return list(self._lazy)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command; one that does not exist is a usage error with the nearest name."""
        if cmd_name not in self._lazy:
            near = difflib.get_close_matches(cmd_name, self._lazy, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else f" There are {', '.join(self._lazy)}."
            raise click.UsageError(f"no command {cmd_name!r}.{hint}", ctx)
        module, _, name = self._lazy[cmd_name][0].partition(":")
        return getattr(importlib.import_module(module), name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - as above
        """Write the list of commands without importing one."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in self._lazy.items()])

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; tell expected errors on stderr and end with their exit code."""
        try:
            return super().invoke(ctx)
        except errors.FanfoldError as error:
            fail(error)
        except KeyboardInterrupt:
            sys.exit(exit_codes.INTERRUPTED)


def fail(error: errors.FanfoldError) -> NoReturn:
    """Say what went wrong and end with the error's exit code."""
    click.echo(f"Error: {error}", err=True)
    if isinstance(error, errors.TaskFailed) and error.traceback:
        click.echo(f"\n{error.traceback.rstrip()}", err=True)
    sys.exit(exit_codes.of(error))


@click.group(
    cls=LazyGroup,
    lazy=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=(
        "Exit codes: 0 ok, 1 error, 2 usage, 3 not found, 4 conflict, 5 run failed, 6 run cancelled, "
        "7 wait timed out, 8 store unreachable; stopped: 130 by Ctrl-C, 143 by SIGTERM, 129 by SIGHUP."
    ),
)
@click.version_option(package_name="fanfold", prog_name="fanfold")
@click.pass_context
def fanfold(ctx: click.Context) -> None:
    """Durable asyncio for Python: fan out, fold back, survive kill -9."""
    if os.environ.get("NO_COLOR"):
        ctx.color = False


def main() -> None:
    """Run the command line."""
    fanfold.main(prog_name="fanfold")
