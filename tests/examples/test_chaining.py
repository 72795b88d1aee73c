"""A sequence of tasks, which goes on where it was left."""

import asyncio
import subprocess
import sys
from pathlib import Path

from examples.chaining import add_tax, app, bill, fetch
from fanfold.testing import TestApp

PROGRAM = Path(__file__).parents[2] / "examples" / "chaining.py"


def test_the_program_prints_the_invoice_alone_and_leaves_a_store():
    done = subprocess.run(
        [sys.executable, PROGRAM], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True, timeout=30
    )
    assert done.stdout == "order 7: 68.10 EUR\n"
    assert Path("fanfold.db").exists()


def test_a_step_that_is_done_is_not_done_again_after_a_crash():
    fetched: list[int] = []

    def fetch_once(order_id: int) -> list[float]:
        fetched.append(order_id)
        return [1.0]

    async def main() -> str:
        async with TestApp(app) as test:
            test.stub(fetch, fetch_once)
            test.stub(add_tax, crash_before_tax)
            run = await test.start(bill, 3)
            await test.settle()
            await test.crash()
            test.stub(add_tax, lambda prices, rate: sum(prices))
            await test.crash()
            return await test.result(run)

    async def crash_before_tax(prices: list[float], rate: float) -> float:
        return await asyncio.get_running_loop().create_future()

    assert asyncio.run(main()) == "order 3: 1.00 EUR"
    assert fetched == [3]
