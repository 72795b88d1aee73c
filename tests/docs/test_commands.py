"""The page of commands is compared with the command itself: what there is, its options, its exit codes."""

import re
from collections.abc import Iterator

import click
import pytest

from fanfold.cli import exit_codes
from fanfold.cli.main import fanfold
from tests.docs.documents import documents
from tests.house.source import ROOT

PAGE = (ROOT / "docs" / "cli.md").read_text()
DOCUMENTS = [document for document in documents() if "decisions" not in document.path]


def commands(group: click.Group, *path: str) -> Iterator[tuple[str, click.Command]]:
    """Yield every command that does something, with the words that call it."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from commands(command, *path, name)
        else:
            yield " ".join((*path, name)), command


COMMANDS = dict(commands(fanfold, "fanfold"))


def sections() -> dict[str, str]:
    """Return the page's sections of commands by their command."""
    parts = re.split(r"^## `([^`]+)`$", PAGE.partition("\n## Exit codes")[0], flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def table(text: str) -> list[list[str]]:
    """Return the rows of the table in a text, without its head, as cells."""
    rows = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows[2:]]


def test_every_command_has_its_section():
    assert list(sections()) == list(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_options_of_a_command_are_those_of_its_table(name: str):
    told = {option for row in table(sections()[name]) for option in re.findall(r"`(-[^`]*)`", row[0])}
    options = [parameter for parameter in COMMANDS[name].params if isinstance(parameter, click.Option)]
    assert told == {text for option in options for text in option.opts}


@pytest.mark.parametrize("name", COMMANDS)
def test_the_arguments_of_a_command_are_told(name: str):
    for parameter in COMMANDS[name].params:
        if isinstance(parameter, click.Argument):
            assert f"`{name} {parameter.make_metavar(click.Context(COMMANDS[name]))}`" in sections()[name]


@pytest.mark.parametrize("name", COMMANDS)
def test_the_defaults_that_are_told_hold(name: str):
    told = {option: text for option, text in table(sections()[name]) if re.search(r": \d+$", text)}
    for option in COMMANDS[name].params:
        if isinstance(option, click.Option) and isinstance(option.default, int) and not option.is_flag:
            assert told[f"`{option.opts[0]}`"].endswith(f": {option.default}")


def test_the_exit_codes_are_those_of_the_command():
    told = [int(code) for code, _ in table(PAGE.partition("\n## Exit codes")[2])]
    codes = {value for name, value in vars(exit_codes).items() if name.isupper() and not name.startswith("_")}
    assert told == sorted({0, *codes})


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.path)
def test_every_command_line_in_a_document_is_a_command(document):
    for line in document.commands:
        found = re.match(r"(?:\$ )?(fanfold [a-z ]*[a-z])", line)
        if found:
            typed = f"{found[1]} "
            assert any(typed.startswith(f"{name} ") or f"{name} ".startswith(typed) for name in COMMANDS), line
