"""Workflows behave as on stock asyncio, live and after crashes: shown by generated programs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fidelity.executions import check

PROGRAMS, PARTS = 500, 10
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("part", range(PARTS))
def test_generated_programs_do_the_same_live_replayed_and_on_stock_asyncio(part: int):
    for seed in range(part * PROGRAMS // PARTS, (part + 1) * PROGRAMS // PARTS):
        check(seed, crashes=3)


@pytest.mark.parametrize("seed", range(12))
def test_a_program_survives_a_crash_after_each_of_its_commits(seed: int):
    check(1000 + seed, crashes=1000)


def test_another_hash_seed_and_another_heap_change_nothing():
    def digest(hash_seed: str, ballast: int) -> str:
        program = f"ballast = [object() for _ in range({ballast})]; import tests.fidelity.executions as e; e.main()"
        command = [sys.executable, "-c", program, "--programs", "60", "--crashes", "1"]
        environment = os.environ | {"PYTHONHASHSEED": hash_seed}
        ran = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=55, check=True)
        return ran.stdout

    assert digest("1", 0) == digest("4711", 123_457)
