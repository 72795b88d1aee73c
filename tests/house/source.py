"""The tree as the rules see it: Python sources with their syntax trees, and tracked files of any kind."""

import ast
import os
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "src/fanfold"
FOLDERS = ("src", "tests", "examples", "benchmarks", "scripts")

Rule = Callable[["Source"], Iterator[str]]


@dataclass(frozen=True)
class Source:
    """One Python file: its path from the root of the tree, and its text."""

    path: str
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text, self.path)

    @cached_property
    def nodes(self) -> list[ast.AST]:
        return list(ast.walk(self.tree))

    def at(self, node: ast.expr | ast.stmt, message: str) -> str:
        """Say where an offence is, as compilers do."""
        return f"{self.path}:{node.lineno}: {message}"

    def is_in(self, *places: str) -> bool:
        """Say whether this file is one of these files, or under one of these folders (which end in `/`)."""
        return any(self.path == place or (place.endswith("/") and self.path.startswith(place)) for place in places)


@cache
def sources(*folders: str) -> tuple[Source, ...]:
    """Read the tree's Python files below these folders."""
    below = tuple(f"{folder}/" for folder in folders)
    names = [(path, path.relative_to(ROOT).as_posix()) for path in tracked_files(ROOT) if path.suffix == ".py"]
    return tuple(Source(name, path.read_text()) for path, name in names if name.startswith(below))


def offences(rule: Rule, where: tuple[Source, ...]) -> list[str]:
    """Apply a rule to many sources."""
    return [offence for source in where for offence in rule(source)]


def without_exceptions(found: list[tuple[str, str]], exceptions: Mapping[str, str]) -> list[str]:
    """Drop the excepted ones of (name, offence) pairs; an exception that excepts nothing is an offence itself."""
    names = {name for name, _ in found}
    unneeded = [f"{name}: this exception is no longer needed" for name in exceptions if name not in names]
    return [offence for name, offence in found if name not in exceptions] + unneeded


@cache
def tracked_files(root: Path) -> list[Path]:
    """List the files that git tracks, or would with the next `git add`; without git, all but what is made."""
    # The tree may belong to another user, as it often does in a container.
    command = ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listing = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return sorted(unignored_files(root))
    return sorted(path for name in set(listing.split("\0")) if name and (path := root / name).is_file())


def unignored_files(root: Path) -> Iterator[Path]:
    """Walk a tree that git does not know, leaving out what the tools make."""
    made = {"__pycache__", "build", "dist", "node_modules"}
    for folder, below, names in os.walk(root):
        # .ci is the one hidden folder that belongs to the tree; .venv and the caches do not.
        below[:] = [name for name in below if name not in made and (name == ".ci" or not name.startswith("."))]
        yield from (Path(folder) / name for name in names)
