"""What the README shows of a kill happens: the same command goes on where the dead process was."""

import asyncio
import re
import subprocess
import sys
from pathlib import Path

from fanfold import App, FanfoldError
from tests.docs.documents import Document
from tests.house.source import ROOT

README = Document("README.md", (ROOT / "README.md").read_text())
CONTINUED = re.compile(r"^total: continued run 1: ([\d,]+) done, ([\d,]+) left$", re.MULTILINE)
CHILDREN = 100_000  # more than the README has: there must be time to kill it


def test_the_program_goes_on_after_a_kill(tmp_path: Path):
    [program] = [block.text for block in README.blocks if block.file == "squares.py"]
    assert "10_000" in program
    (tmp_path / "squares.py").write_text(program.replace("10_000", str(CHILDREN)))
    with subprocess.Popen([sys.executable, "squares.py"], cwd=tmp_path, stderr=subprocess.DEVNULL) as first:
        try:
            asyncio.run(asyncio.wait_for(until_a_child_has_completed(tmp_path / "fanfold.db"), 30))
        finally:
            first.kill()
    assert first.returncode == -9
    command = [sys.executable, "squares.py"]
    second = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert second.stdout == f"{sum(n * n for n in range(CHILDREN))}\n", second.stderr
    assert CONTINUED.search(second.stderr), second.stderr


async def until_a_child_has_completed(store: Path) -> None:
    app = App(store=f"sqlite:///{store}")
    while True:
        try:
            async for _ in app.runs(state="completed", task="square"):
                return
        except FanfoldError:
            pass  # not made yet
        await asyncio.sleep(0.01)


def test_the_readme_shows_what_is_said():
    shown = "\n".join(block.text for block in README.blocks)
    done, left = (int(number.replace(",", "")) for number in CONTINUED.findall(shown)[0])
    assert done + left == 200_000
    assert f"\n{sum(n * n for n in range(done + left))}\n" in shown
