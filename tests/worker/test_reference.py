"""How a task is found in another process: in modules, in the main program, and what is refused."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fanfold.cli import target
from fanfold.errors import InvalidInput, NotAllowed
from fanfold.model.codec import decode_text
from fanfold.worker.executors import processes
from fanfold.worker.reference import check_reference
from tests.engine.desk import on_a_loop
from tests.worker import process_tasks as tasks
from tests.worker.process_tasks import LIMIT_S, Pool, environment, remove, touch


def run_script(path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments, *([] if arguments else [str(path)])],
        cwd=path.parent, env=environment(), capture_output=True, text=True, timeout=LIMIT_S, check=False,
    )  # fmt: skip


def nested() -> Any:
    def inner() -> None: ...

    return inner


class Methods:
    @staticmethod
    def static() -> None: ...


def test_what_another_process_cannot_find_is_refused():
    interactive: Any = type(nested)(nested.__code__, {"__name__": "no_such_module"}, "typed_in")
    for function, why in ((lambda: None, "a lambda"), (nested(), "inside nested()"), (interactive, "interactive")):
        with pytest.raises(InvalidInput, match=f"{why}.*top level of a module"):
            check_reference(function)
    for function in (nested, Methods.static, tasks.plain):
        check_reference(function)


@on_a_loop
async def test_a_task_that_is_another_one_in_its_process_is_not_run():
    async with Pool() as pool:
        stranger = tasks.add.with_body(tasks.named.fn)
        error = await pool.error(pool.submit(stranger, 1, 1))
    assert "fanfold.errors.UnknownTask" in error.kinds
    assert "tests.worker.process_tasks.named" in decode_text(error.text)["message"]


MODULE = """
import sys
from pathlib import Path
from fanfold import App

app = App("fragile")
if Path("broken").exists():
    raise RuntimeError("broken on purpose")

@app.task(executor="process")
def work(n: int) -> int:
    return n + 1

if not Path("gone").exists():
    @app.task(executor="process")
    def sometimes(n: int) -> int:
        return n + 2
"""


def load(path: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    path.write_text(text)
    monkeypatch.syspath_prepend(str(path.parent))
    monkeypatch.delitem(sys.modules, path.stem, raising=False)
    return importlib.import_module(path.stem)


@on_a_loop
async def test_a_module_that_cannot_be_imported_fails_the_body_with_the_cause_and_the_process_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    fragile = load(tmp_path / "fragile_module.py", MODULE, monkeypatch)
    touch("broken")
    async with Pool() as pool:
        error = await pool.error(pool.submit(fragile.work, 1))
        record = decode_text(error.text)
        assert "fanfold.worker.reference.ProcessNotReady" in error.kinds
        assert "the module fragile_module cannot be imported" in record["message"]
        assert "RuntimeError: broken on purpose" in record["message"]
        assert 'raise RuntimeError("broken on purpose")' in record["traceback"]
        pids = pool.executor.pids
        remove("broken")
        assert await pool.value(pool.submit(fragile.work, 1)) == 2
        assert pool.executor.pids == pids


@on_a_loop
async def test_a_name_that_is_not_there_in_the_process_fails_the_body(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    fickle = load(tmp_path / "fickle_module.py", MODULE, monkeypatch)
    touch("gone")
    async with Pool() as pool:
        error = await pool.error(pool.submit(fickle.sometimes, 1))
    assert "fanfold.errors.UnknownTask" in error.kinds
    assert "has no sometimes when it is imported" in decode_text(error.text)["message"]


SCRIPT = """
import asyncio, sys
from dataclasses import dataclass
from fanfold import App
from tests.worker.process_tasks import Pool

app = App("script")

@dataclass
class Point:
    x: int
    y: int

@app.task(executor="process")
def mirror(point: Point) -> Point:
    return Point(point.y, point.x)

async def main() -> None:
    async with Pool() as pool:
        print(await pool.value(pool.submit(mirror, Point(1, 2))), __name__)

"""
GUARDED = SCRIPT + 'if __name__ == "__main__":\n    asyncio.run(main())\n'


@pytest.mark.parametrize("name", ["program.py", "program"])
def test_a_task_of_the_main_program_runs_in_a_process(tmp_path: Path, name: str):
    (tmp_path / name).write_text(GUARDED)
    verdict = run_script(tmp_path / name)
    assert (verdict.stdout, verdict.stderr) == ("Point(x=2, y=1) __main__\n", "")


def test_a_task_of_a_module_that_is_run_as_the_program_runs_in_a_process(tmp_path: Path):
    package = tmp_path / "package"
    package.mkdir()
    (package / "constants.py").touch()
    (package / "program.py").write_text("from . import constants\n" + GUARDED)
    verdict = run_script(package, "-m", "package.program")
    assert (verdict.stdout, verdict.stderr) == ("Point(x=2, y=1) __main__\n", "")


def test_a_program_that_starts_without_asking_whether_it_is_the_main_one_is_told_so(tmp_path: Path):
    (tmp_path / "program.py").write_text(SCRIPT + "asyncio.run(main())\n")
    verdict = run_script(tmp_path / "program.py")
    assert verdict.returncode == 1
    assert "put it below `if __name__" in verdict.stderr


@on_a_loop
async def test_a_task_of_a_file_that_was_loaded_under_a_made_up_name_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(sys, "path", [*sys.path])
    path = tmp_path / "json.py"
    path.write_text(MODULE)
    loaded: Any = target._load_file(path)
    try:
        assert loaded.__name__ == "__json__"
        async with Pool() as pool:
            assert await pool.value(pool.submit(loaded.work, 1)) == 2
    finally:
        del sys.modules["__json__"]


def test_no_engine_starts_in_a_process(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("fanfold.worker.reference._in_pool", [True])
    with pytest.raises(NotAllowed, match="leaf"):
        processes.refuse_in_process("an engine cannot start")
