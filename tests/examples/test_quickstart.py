"""The first program that a newcomer runs."""

import subprocess
import sys
from pathlib import Path

QUICKSTART = Path(__file__).parents[2] / "examples" / "quickstart.py"


def test_the_quickstart_prints_the_sum_alone_and_leaves_a_store():
    done = subprocess.run(
        [sys.executable, QUICKSTART], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True, timeout=30
    )
    assert done.stdout == f"{sum(n * n for n in range(100))}\n"
    assert Path("fanfold.db").exists()
