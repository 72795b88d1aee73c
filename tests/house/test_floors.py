"""The contract on the floors, tried on a planted package: a contract that cannot fail proves nothing."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.house.source import ROOT

LINTER = ROOT / ".venv" / "bin" / "lint-imports"


def lint(folder: Path, modules: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Write a package called fanfold into a folder and hold it to the tree's own contract."""
    for name, text in {"__init__.py": "", **modules}.items():
        path = folder / "fanfold" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return subprocess.run(
        [LINTER, "--no-cache", "--no-logo", "--config", ROOT / "pyproject.toml"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    "modules",
    [
        {"errors.py": "", "model.py": "from fanfold import errors", "app.py": "from fanfold.model import errors"},
        {"cli.py": "import fanfold.errors", "errors.py": ""},
    ],
)
def test_imports_that_go_down_keep_the_contract(tmp_path: Path, modules: dict[str, str]):
    assert lint(tmp_path, modules).returncode == 0


@pytest.mark.parametrize(
    ("modules", "told"),
    [
        (
            {"store.py": "import fanfold.engine", "engine.py": ""},
            "fanfold.store is not allowed to import fanfold.engine",
        ),
        (
            {"run.py": "import fanfold.blocking", "blocking.py": ""},
            "fanfold.run is not allowed to import fanfold.blocking",
        ),
        ({"model.py": "import fanfold", "__init__.py": "from fanfold import app", "app.py": ""}, "fanfold.model"),
        ({"attic.py": ""}, "attic"),
    ],
    ids=["upwards", "sideways", "upwards through the package", "on no floor"],
)
def test_a_breach_of_the_floors_is_found(tmp_path: Path, modules: dict[str, str], told: str):
    verdict = lint(tmp_path, modules)
    assert verdict.returncode == 1
    assert told in " ".join(verdict.stdout.split())
