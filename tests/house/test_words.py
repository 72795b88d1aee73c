"""The tree speaks of itself alone: no paths of one machine, no package host, nobody's way of working.

One letter of each word stands in brackets, so that this file may be read by its own rule.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house.source import ROOT, tracked_files, without_exceptions

WORDS = {
    "a path of one machine": r"(?<![\w.}*-])/(?:work|root|home/\w+|Users/\w+)(?:/|$)",
    "the address of a package host": r"\b(?:[p]ypi\.(?:org|python)|(?:files\.)?[p]ythonhosted|[r]egistry\.npmjs)"
    r"|--(?:extra-)?[i]ndex-url\b|--[f]ind-links\b",
    "about how the work is organised": r"\b[C]EO\b|(?<!user[ -])\b[a]gents?\b|\b[s]ubagents?\b"
    r"|\b(?:this|earlier|previous|next|another|other) [s]essions?\b|\b(?:the|an?|another|other|by) [h]elpers?\b",
}

# path -> reason
EXCEPTIONS: dict[str, str] = {}


def forbidden_words(path: str, text: str) -> Iterator[str]:
    """List what a file, or its name, says that it should not."""
    for number, line in enumerate([path, *text.splitlines()]):
        for kind, pattern in WORDS.items():
            for found in re.finditer(pattern, line, re.IGNORECASE):
                yield f"{path}:{number}: {found.group()!r} is {kind}"


def text_of(path: Path) -> str:
    """Read a file's text; what is no UTF-8 is a picture or a store, and has no words."""
    try:
        return path.read_text()
    except UnicodeDecodeError:
        return ""


def test_no_file_says_what_it_should_not():
    names = [(path, path.relative_to(ROOT).as_posix()) for path in tracked_files(ROOT)]
    found = [(name, offence) for path, name in names for offence in forbidden_words(name, text_of(path))]
    assert without_exceptions(found, EXCEPTIONS) == []


def test_the_lock_names_no_address():
    assert not re.findall(r"\S*://\S*", (ROOT / "requirements.lock").read_text())


# In halves, for the same reason as the brackets above.
@pytest.mark.parametrize(
    "halves",
    [
        ("see /wo", "rk/here/design.md"),
        ("cd /ho", "me/ann/fanfold"),
        ("the file is in /ro", "ot"),
        ("https://py", "pi.org/simple"),
        ("pip install --ind", "ex-url=x"),
        ("as the C", "EO said"),
        ("an a", "gent wrote this"),
        ("done in an earlier se", "ssion"),
        ("left to another hel", "per"),
    ],
)
def test_a_forbidden_word_is_found(halves: tuple[str, str]):
    assert len(list(forbidden_words("a.md", "".join(halves)))) == 1


def test_a_forbidden_word_in_a_name_is_found():
    assert list(forbidden_words("docs/age" + "nts.md", "")) != []


def test_ordinary_words_are_left_alone():
    text = "the work/ folder, user agent, a database session, runs/12/root, {base}/work, ~/fanfold.db, /usr/bin/env"
    assert not list(forbidden_words("a.md", text))


def test_a_tree_without_git_is_read_without_what_tools_make(tmp_path: Path):
    for name in (".venv/lib.py", "src/__pycache__/a.pyc", "src/a.py", ".ci/run"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert [path.relative_to(tmp_path).as_posix() for path in tracked_files(tmp_path)] == [".ci/run", "src/a.py"]
