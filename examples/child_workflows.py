"""A task that starts children as it finds work, under keys of its own: `python child_workflows.py`.

The parent is a task: it may read from outside while it starts children. When its first attempt fails, the second one
runs from the top, calls the same children, and finds those that it has: a page that was crawled is not crawled again.
"""

from __future__ import annotations

import asyncio
import itertools

from fanfold import App, Retry, current

app = App("child-workflows")

SITE = {
    "/": ["/docs", "/blog"],
    "/docs": ["/docs/install", "/docs/api"],
    "/blog": ["/blog/hello", "/docs"],
}


class Unreachable(Exception):
    """The site does not answer; worth another attempt."""


@app.task
async def crawl(path: str) -> list[str]:
    """Return the links of one page."""
    return SITE.get(path, [])


@app.workflow
async def index(path: str) -> int:
    """Return how many links a page has; a child may be a workflow, with children of its own."""
    return len(await crawl(path))


def check_site() -> None:
    """Fail on the first attempt, when half of the work is done already."""
    if current().attempt == 1:
        raise Unreachable("the site went away for a moment")


@app.task(retry=Retry(max_attempts=3, delay=0.1, retry_on=(Unreachable,)))
async def crawl_site(start: str) -> dict[str, int]:
    """Follow links, level by level; the key of a child is the page, so that each is crawled once."""
    found, level = [start], [start]
    while level:
        pages = await asyncio.gather(*(crawl.options(key=path)(path) for path in level))
        level = [link for link in dict.fromkeys(itertools.chain(*pages)) if link not in found]
        found += level
        if len(found) > 4:
            check_site()
    counts = await asyncio.gather(*(index.options(key=path)(path) for path in found))
    return dict(zip(found, counts, strict=True))


if __name__ == "__main__":
    for page, links in app.run(crawl_site, "/").items():
        print(f"{links} links on {page}")
