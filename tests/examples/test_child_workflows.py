"""A task that starts children as it finds work: each once, whatever happens to the parent."""

import asyncio
import subprocess
import sys
from collections import Counter
from pathlib import Path

from examples.child_workflows import SITE, app, crawl, crawl_site
from fanfold.testing import TestApp

PROGRAM = Path(__file__).parents[2] / "examples" / "child_workflows.py"
PAGES = ["/", "/docs", "/blog", "/docs/install", "/docs/api", "/blog/hello"]


def test_the_program_prints_the_links_of_every_page():
    done = subprocess.run(
        [sys.executable, PROGRAM], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True, timeout=30
    )
    assert done.stdout.splitlines() == [f"{len(SITE.get(page, []))} links on {page}" for page in PAGES]


def test_a_retried_parent_finds_the_children_that_it_has():
    crawled: Counter[str] = Counter()

    async def count(path: str) -> list[str]:
        crawled[path] += 1
        return SITE.get(path, [])

    async def main():
        async with TestApp(app) as test:
            test.stub(crawl, count)
            run = await test.start(crawl_site, "/")
            links = await test.result(run)
            return links, await run.status(), [(child.key, child.name) async for child in run.children()]

    links, status, children = asyncio.run(main())
    assert links == {page: len(SITE.get(page, [])) for page in PAGES}
    assert (status.attempt, status.children.completed) == (2, 2 * len(PAGES))
    # Once by the parent, over both of its attempts, and once by the child workflow of the page.
    assert crawled == dict.fromkeys(PAGES, 2)
    assert sorted(children) == sorted((page, name) for page in PAGES for name in ("crawl", "index"))
