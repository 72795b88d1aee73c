"""What was recorded on one Python goes on under every other one."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from fanfold.model import lifecycle
from tests.fidelity.records import SEEDS, make, read, replay

FILES = sorted(Path(__file__).parent.glob("recorded_on_*.json"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_record_of_another_python_is_replayed_to_its_end(path: Path):
    for record in read(path):
        broken, ended, said = asyncio.run(replay(record))
        assert broken is None, f"seed {record.seed}: {broken}"
        assert ended is not None
        assert ended.state == lifecycle.COMPLETED
        assert said == record.said, f"seed {record.seed}"


def test_there_are_records_of_both_ways_in_which_python_waits_for():
    assert {path.stem for path in FILES} >= {"recorded_on_3_11", "recorded_on_3_13"}
    for path in FILES:
        assert [record.seed for record in read(path)] == list(SEEDS)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_this_python_gives_its_calls_the_same_keys(path: Path):
    for record in read(path):
        made = asyncio.run(make(record.seed))
        assert [(child.key, child.digest) for child in made.children] == [
            (child.key, child.digest) for child in record.children
        ]
        assert made.said == record.said
