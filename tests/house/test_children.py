"""The watch over child processes, tried on a test that leaves one behind."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.source import ROOT

FORGETS = """
import subprocess, sys

def test_forgets():
    subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])

def test_reaps():
    subprocess.run([sys.executable, "-c", "pass"], check=True)
"""


@pytest.fixture
def planted(tmp_path: Path) -> Path:
    """Make a folder of tests under the tree's own conftest."""
    shutil.copy(ROOT / "tests" / "conftest.py", tmp_path)
    (tmp_path / "pytest.ini").touch()
    return tmp_path


def test_a_child_process_left_behind_fails_its_test_and_no_other(planted: Path):
    (planted / "test_planted.py").write_text(FORGETS)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", str(planted)]
    verdict = subprocess.run(command, cwd=planted, capture_output=True, text=True, check=False)
    assert "the test left child processes behind: " in verdict.stdout
    assert "2 passed, 1 error" in verdict.stdout
