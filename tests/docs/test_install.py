"""`pip install .` in an empty environment, then the README's program in a file: it works, and offline.

The wheel is made of the tree. Of the packages around this test the new environment sees only what the wheel declares,
so that a dependency which is missing in pyproject.toml is missing here as well.
"""

import re
import subprocess
import sys
import venv
from importlib.metadata import distribution
from pathlib import Path

import pytest

from tests.docs.documents import Document
from tests.house.source import ROOT

README = Document("README.md", (ROOT / "README.md").read_text())
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet")
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "HOME": "/nowhere", "PIP_NO_INDEX": "1"}


def ran(*command: str | Path, cwd: Path) -> str:
    """Run a command in an environment without settings and return what it prints."""
    ended = subprocess.run(command, cwd=cwd, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def declared(name: str, seen: set[str]) -> None:
    """Collect the distributions that one needs here, and those that they need."""
    if name in seen:
        return
    seen.add(name)
    for requirement in distribution(name).requires or ():
        if "extra ==" not in requirement and "python_version" not in requirement:
            declared(re.split(r"[^\w.-]", requirement, maxsplit=1)[0].lower(), seen)


def lay_out(names: set[str], folder: Path) -> None:
    """Link what these distributions consist of into a folder, and nothing else of the place where they are."""
    folder.mkdir()
    for name in names:
        for file in distribution(name).files or ():
            top = file.parts[0]
            if top != ".." and not (folder / top).exists():
                (folder / top).symlink_to(Path(str(file.locate())).parents[len(file.parts) - 1] / top)


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make an environment with the wheel of this tree and its dependencies; return its interpreter."""
    folder = tmp_path_factory.mktemp("install")
    ran(*PIP, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, ROOT, cwd=folder)
    [wheel] = folder.glob("fanfold-*.whl")
    venv.create(folder / "venv", symlinks=True)
    interpreter = folder / "venv" / "bin" / "python"
    ran(*PIP, "--python", interpreter, "install", "--no-deps", wheel, cwd=folder)
    needed: set[str] = set()
    declared("fanfold", needed)
    lay_out(needed - {"fanfold"}, folder / "dependencies")
    [packages] = (folder / "venv" / "lib").glob("python*/site-packages")
    (packages / "dependencies.pth").write_text(f"{folder / 'dependencies'}\n")
    return interpreter


def test_the_program_of_the_readme_works(python: Path, tmp_path: Path):
    [block] = [block for block in README.blocks if block.file == "squares.py"]
    (tmp_path / "squares.py").write_text(block.text)
    printed = ran(python, "squares.py", cwd=tmp_path)
    [console] = [block.text for block in README.blocks if "pip install" in block.text]
    assert console.splitlines() == ["$ pip install .", "$ python squares.py", printed.strip()]
    assert (tmp_path / "fanfold.db").exists()


def test_the_command_works_and_is_the_same_as_the_module(python: Path, tmp_path: Path):
    version = ran(python.with_name("fanfold"), "--version", cwd=tmp_path)
    assert version == ran(python, "-m", "fanfold", "--version", cwd=tmp_path)
    assert distribution("fanfold").version in version
    assert "runs" in ran(python, "-m", "fanfold", "--help", cwd=tmp_path)
    assert '"troubles"' in ran(python, "-m", "fanfold", "doctor", "-o", "json", cwd=tmp_path)


def test_what_is_installed_is_the_wheel_and_is_typed(python: Path, tmp_path: Path):
    program = "import fanfold; from pathlib import Path; print(Path(fanfold.__file__).parent)"
    package = Path(ran(python, "-c", program, cwd=tmp_path).strip())
    assert package.is_relative_to(python.parents[1])
    for name in ("py.typed", "store/statements.sql", "store/queries.sql", "store/migrations/0001_initial.sql"):
        assert (package / name).is_file()
    assert not (package.parent / "tests").exists()
