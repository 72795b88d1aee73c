"""Third-party libraries stay in the rooms that are made for them."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator

import pytest

from tests.house.source import PACKAGE, ROOT, Source, offences, sources

FENCES = {
    "apsw": (f"{PACKAGE}/store/sqlite.py",),
    "asyncpg": (f"{PACKAGE}/store/postgres.py",),
    "starlette": (f"{PACKAGE}/frontends/",),
    "uvicorn": (f"{PACKAGE}/frontends/", f"{PACKAGE}/serve.py"),
    "click": (f"{PACKAGE}/cli/",),
    "rich": (f"{PACKAGE}/cli/", f"{PACKAGE}/progress.py", f"{PACKAGE}/progress/"),
}
MODEL = f"{PACKAGE}/model/"
MODEL_MAY_IMPORT = {"msgspec"}  # the model is pure: beside the standard library, only the encoding of payloads


def third_party_imports(source: Source) -> Iterator[tuple[ast.stmt, str]]:
    """List what a file imports from outside the standard library and fanfold, wherever in the file it does."""
    for node in source.nodes:
        match node:
            case ast.Import(names=names):
                packages = {alias.name.partition(".")[0] for alias in names}
            case ast.ImportFrom(module=str(module), level=0):
                packages = {module.partition(".")[0]}
            case _:
                continue
        for package in sorted(packages - sys.stdlib_module_names - {"fanfold"}):
            yield node, package


def imports_over_a_fence(source: Source) -> Iterator[str]:
    """A fenced library is imported in its rooms only; the model imports nearly nothing."""
    for node, package in third_party_imports(source):
        rooms = FENCES.get(package)
        if rooms is not None and not source.is_in(*rooms):
            yield source.at(node, f"{package} may be imported in {', '.join(rooms)} only")
        elif source.is_in(MODEL) and package not in MODEL_MAY_IMPORT:
            yield source.at(node, f"the model imports no {package}")


def undeclared_imports(source: Source, declared: set[str]) -> Iterator[str]:
    """Whatever is imported is declared in pyproject.toml (all import names here equal the package names)."""
    for node, package in third_party_imports(source):
        if package not in declared:
            yield source.at(node, f"{package} is not declared in pyproject.toml")


def declared_dependencies() -> set[str]:
    """Read the names of the dependencies, those of the extras included."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project.get("optional-dependencies", {}).values()
    requirements = [*project["dependencies"], *(line for extra in extras for line in extra)]
    return {re.split(r"[^\w.-]", line, maxsplit=1)[0].lower().replace("-", "_") for line in requirements}


def test_third_party_libraries_stay_behind_their_fences():
    assert offences(imports_over_a_fence, sources(PACKAGE)) == []


def test_every_imported_library_is_declared():
    declared = declared_dependencies()
    assert offences(lambda source: undeclared_imports(source, declared), sources(PACKAGE)) == []


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("store/store.py", "import apsw"),
        ("engine/engine.py", "from apsw import Connection"),
        ("app.py", "def f():\n    import click.testing"),
        ("worker/worker.py", "from rich.live import Live"),
        ("model/run.py", "import packaging.version"),
    ],
)
def test_an_import_over_a_fence_is_found(path: str, text: str):
    assert len(list(imports_over_a_fence(Source(f"{PACKAGE}/{path}", text)))) == 1


def test_imports_in_their_rooms_are_left_alone():
    assert not list(imports_over_a_fence(Source(f"{PACKAGE}/store/sqlite.py", "import apsw")))
    assert not list(imports_over_a_fence(Source(f"{PACKAGE}/cli/runs.py", "import click, rich.table")))
    assert not list(imports_over_a_fence(Source(f"{PACKAGE}/model/codec.py", "import json, msgspec")))


def test_an_undeclared_import_is_found():
    source = Source(f"{PACKAGE}/app.py", "import msgspec\nfrom requests import get")
    assert list(undeclared_imports(source, {"msgspec"})) == [
        f"{PACKAGE}/app.py:2: requests is not declared in pyproject.toml"
    ]
