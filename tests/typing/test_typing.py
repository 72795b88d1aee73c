"""A type checker sees what a reader sees: right programs are clean, each wrong line is an error at that line.

The programs under `right` and `wrong` are checked, not run. A line that must be refused names the checker's rules in
a comment `# error: rule, rule`; a file under `right` has none. The checker brings its own Node.js and needs no network.
"""

import json
import re
import runpy
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

HERE = Path(__file__).parent
EXPECTED = re.compile(r"# error: (\w+(?:, \w+)*)$")

Errors = dict[int, set[str]]


@cache
def found() -> dict[str, Errors]:
    """Check all programs at once; return the rules by file and line."""
    command = [sys.executable, "-m", "basedpyright", "-p", str(HERE), "--pythonpath", sys.executable, "--outputjson"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    report = json.loads(ended.stdout)
    assert report["summary"]["filesAnalyzed"] >= len(programs()), ended.stderr
    errors: dict[str, Errors] = {}
    for told in report["generalDiagnostics"]:
        line = told["range"]["start"]["line"] + 1
        errors.setdefault(name(Path(told["file"])), {}).setdefault(line, set()).add(told.get("rule", told["message"]))
    return errors


def programs() -> list[Path]:
    """List the programs that are checked."""
    return sorted(path for folder in ("right", "wrong") for path in (HERE / folder).glob("[a-z]*.py"))


def name(path: Path) -> str:
    """Name a program by its folder and file."""
    return f"{path.parent.name}/{path.name}"


def expected(text: str) -> Errors:
    """Read the comments that name the errors."""
    matches = ((number, EXPECTED.search(line)) for number, line in enumerate(text.splitlines(), start=1))
    return {number: set(match[1].split(", ")) for number, match in matches if match}


@pytest.mark.parametrize("path", programs(), ids=name)
def test_the_checker_finds_what_the_comments_say_and_nothing_else(path: Path):
    assert found().get(name(path), {}) == expected(path.read_text())


@pytest.mark.parametrize("path", [path for path in programs() if path.parent.name == "right"], ids=name)
def test_right_programs_can_be_imported(path: Path):
    assert runpy.run_path(str(path))["app"].tasks


def test_right_programs_expect_no_errors_and_wrong_ones_do():
    assert {path.parent.name for path in programs() if expected(path.read_text())} == {"wrong"}
    assert all(expected(path.read_text()) for path in programs() if path.parent.name == "wrong")


def test_a_comment_is_read_at_its_line():
    assert expected("a\nb(3)  # error: reportCallIssue\n# errors are told\n") == {2: {"reportCallIssue"}}
