"""What the decorators make of a function: bare and with arguments, sync, async, workflow; and `.fn`, exactly typed."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, assert_type

from fanfold import App, Task, Workflow
from fanfold.worker.task import AsyncTask, SyncTask

app = App("orders", store="sqlite://", version="1.2.0", slots=10, threads=2, max_payload=1 << 20)


@dataclass
class Report:
    rows: int
    note: str = ""


@app.task
def count(path: str, *, limit: int = 10) -> Report:
    return Report(len(path), str(limit))


@app.task
async def fetch(url: str, tries: int = 1) -> bytes:
    return url.encode() * tries


@app.task(name="measure_it", queue="slow", priority=5)
def measure(n: float) -> float:
    return n


@app.task(queue="slow")
async def nothing() -> None:
    return None


@app.workflow
async def collect(*paths: str) -> list[Report]:
    return [await count(path) for path in paths]


@app.workflow(name="by_name", priority=1)
async def total(**rows: int) -> int:
    return sum(rows.values())


def check_kinds() -> None:
    assert_type(nothing, AsyncTask[[], None])
    a: SyncTask[[float], float] = measure
    b: Task[..., bytes] = fetch
    c: Workflow[..., list[Report]] = collect
    d: Task[..., int] = total
    names: dict[str, Task[..., Any]] = app.tasks
    plain: Callable[[float], float] = measure.fn
    print(a.name, plain, b.queue, c.priority, d.is_async, names)


def check_plain_functions() -> None:
    assert_type(count.fn("a", limit=2), Report)
    assert_type(measure.fn(1.5), float)
    assert_type(nothing.fn, Callable[[], Coroutine[Any, Any, None]])


async def check_plain_coroutines() -> None:
    assert_type(await fetch.fn("u", tries=2), bytes)
    assert_type(await collect.fn("a", "b"), list[Report])
    assert_type(await total.fn(a=1, b=2), int)
