"""The page on asyncio lists what the loop refuses, no more and no less."""

import re
from pathlib import Path

from fanfold.worker.refused import REFUSED

PAGE = Path(__file__).parents[2] / "docs" / "asyncio.md"


def test_the_page_lists_what_the_loop_refuses():
    assert dict(re.findall(r"^\| `(\w+)` \| (.+) \|$", PAGE.read_text(), re.MULTILINE)) == REFUSED
