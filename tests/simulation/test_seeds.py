"""A thousand seeds, and that a seed always says the same."""

import os
import subprocess
import sys

import pytest

from tests.house.source import ROOT
from tests.simulation.__main__ import run, trace_hash

PARTS = 5
SEEDS = 200  # a part


@pytest.mark.parametrize("part", range(PARTS))
def test_no_seed_violates_anything(part: int):
    first = 1 + part * SEEDS
    found = {seed: run(seed).violations[:1] for seed in range(first, first + SEEDS)}
    assert {seed: violations for seed, violations in found.items() if violations} == {}


def test_a_seed_has_one_trace():
    assert [trace_hash(run(seed)) for seed in range(1, 40)] == [trace_hash(run(seed)) for seed in range(1, 40)]


def test_a_trace_is_the_same_in_every_process():
    def traces(hash_seed: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "tests.simulation", "--seeds", "60"],
            cwd=ROOT,
            env=os.environ | {"PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.splitlines()[-1]

    assert traces("1") == traces("2")
