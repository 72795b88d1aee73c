"""A number of items that is known at run time only."""

import asyncio
import subprocess
import sys
from pathlib import Path

from examples.fan_out_fan_in import app, count_all, find_documents
from fanfold.testing import TestApp

PROGRAM = Path(__file__).parents[2] / "examples" / "fan_out_fan_in.py"


def test_the_program_counts_what_worked_and_tells_what_did_not():
    done = subprocess.run(
        [sys.executable, PROGRAM], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True, timeout=30
    )
    assert done.stdout == "31,200 words in 24 documents; 1 failed: archive/page-13.txt cannot be read\n"


def test_there_are_as_many_children_as_were_found():
    async def main() -> tuple[str, int]:
        async with TestApp(app) as test:
            test.stub(find_documents, lambda folder: [f"{folder}/page-{n}.txt" for n in (13, 500)])
            run = await test.start(count_all, "x")
            return await test.result(run), (await run.status()).children.spawned

    told, spawned = asyncio.run(main())
    assert told == "50,000 words in 1 documents; 1 failed: x/page-13.txt cannot be read"
    assert spawned == 3
