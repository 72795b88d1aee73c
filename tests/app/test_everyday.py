"""The programs that people write around an app: web endpoint, notebook, yesterday's result, webhook, unit test."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest

from fanfold import App, KeyConflict
from fanfold.errors import NotFound
from fanfold.testing import TestApp
from tests.app.program import LIMIT_S, files, runs_in_a_loop

REPORTS = """
import asyncio
from fanfold import App

app = App("reports", store="sqlite:///reports.db")

@app.task
async def count(city: str) -> int:
    return len(city)

@app.workflow
async def report(cities: list[str]) -> dict[str, int]:
    counts = await asyncio.gather(*(count(city) for city in cities))
    return dict(zip(cities, counts, strict=True))
"""

app = App("reports", store="sqlite:///reports.db")


@app.task
async def count(city: str) -> int:
    return len(city)


@app.workflow
async def report(cities: list[str]) -> dict[str, int]:
    counts = await asyncio.gather(*(count(city) for city in cities))
    return dict(zip(cities, counts, strict=True))


# A web application: what FastAPI and Starlette make of the endpoints below, without either ----------------------------


async def web(scope, receive, send) -> None:
    """Start a run at POST /reports and answer with its id; tell of it at GET /reports/ID."""
    if scope["type"] == "lifespan":
        await receive()
        async with app:
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    if scope["method"] == "POST":
        run = await app.start(report, json.loads((await receive())["body"]))
        await answer(send, 202, {"id": run.id})
        return
    try:
        status = await (await app.get(int(scope["path"].rpartition("/")[2]))).status()
    except NotFound as error:
        await answer(send, 404, {"error": str(error)})
    else:
        await answer(send, 200, {"state": status.state, "result": status.output})


async def answer(send, code: int, value: object) -> None:
    await send({"type": "http.response.start", "status": code, "headers": []})
    await send({"type": "http.response.body", "body": json.dumps(value).encode()})


class Server:
    """Drives an ASGI application as a server does."""

    async def __aenter__(self):
        self._in: asyncio.Queue = asyncio.Queue()
        self._out: asyncio.Queue = asyncio.Queue()
        self._lifespan = asyncio.ensure_future(web({"type": "lifespan"}, self._in.get, self._out.put))
        self._in.put_nowait({"type": "lifespan.startup"})
        assert (await self._out.get())["type"] == "lifespan.startup.complete"
        return self

    async def __aexit__(self, *_):
        self._in.put_nowait({"type": "lifespan.shutdown"})
        await self._lifespan

    async def __call__(self, method: str, path: str, body: object = None) -> tuple[int, dict]:
        sent: list[dict] = []

        async def receive() -> dict:
            return {"type": "http.request", "body": json.dumps(body).encode()}

        async def send(message: dict) -> None:
            sent.append(message)

        await web({"type": "http", "method": method, "path": path}, receive, send)
        return sent[0]["status"], json.loads(sent[1]["body"])


@runs_in_a_loop
async def test_an_endpoint_starts_a_run_and_returns_its_id():
    async with Server() as ask:
        code, started = await ask("POST", "/reports", ["Rome", "Oslo"])
        assert code == 202
        await (await app.get(started["id"])).result()
        assert await ask("GET", f"/reports/{started['id']}") == (
            200, {"state": "completed", "result": {"Rome": 4, "Oslo": 4}}
        )  # fmt: skip
        assert (await ask("GET", "/reports/99"))[0] == 404


@runs_in_a_loop
async def test_an_endpoint_finds_its_runs_after_a_restart_of_the_server():
    async with Server() as ask:
        _, started = await ask("POST", "/reports", ["Rome"])
    async with Server() as ask:
        assert await (await app.get(started["id"])).result() == {"Rome": 4}
        assert (await ask("GET", f"/reports/{started['id']}"))[0] == 200


# A notebook -----------------------------------------------------------------------------------------------------------


@runs_in_a_loop
async def test_cells_of_a_notebook_run_one_after_the_other():
    book = App("notebook")
    for factor in (2, 3):  # the second time the cell is edited and run again

        @book.task
        async def scaled(n: int, factor: int = factor) -> int:
            return n * factor

        assert book.run(scaled, 5) == 5 * factor
    run = book.blocking.start(scaled, 7)
    assert run.result() == 21
    assert await (await book.start(scaled, 8)).result() == 24
    assert [status.output async for status in book.runs()] == [24, 21, 15, 10]
    book.blocking.close()


# Yesterday's result ---------------------------------------------------------------------------------------------------

YESTERDAY = """
from reports import app, report
print(app.run(report.options(key="2026-11-19"), ["Rome", "Bonn"]))
"""
TODAY = """
import asyncio
from datetime import timedelta
from reports import app, report

async def main():
    run = await app.get(report, "2026-11-19")
    print(await run.result())
    print([child.input["city"] async for child in run.children(state="completed")])
    print([status.key async for status in app.runs(task=report, since=timedelta(days=2))])

asyncio.run(main())
"""


def test_yesterdays_result_is_read_by_another_process_without_an_engine():
    Path("reports.py").write_text(REPORTS)
    told = []
    for text in (YESTERDAY, TODAY):
        Path("program.py").write_text(text)
        ended = subprocess.run(
            [sys.executable, "program.py"], capture_output=True, text=True, check=False, timeout=LIMIT_S
        )
        assert ended.returncode == 0, ended.stderr
        told.append(ended.stdout.splitlines())
    assert told == [["{'Rome': 4, 'Bonn': 4}"], ["{'Rome': 4, 'Bonn': 4}", "['Rome', 'Bonn']", "['2026-11-19']"]]


# A webhook, which its sender repeats ----------------------------------------------------------------------------------


@runs_in_a_loop
async def test_a_webhook_that_comes_twice_is_one_run_and_another_payload_under_its_key_a_conflict():
    async def hook(delivery: str, cities: list[str]) -> int:
        return (await app.start(report.options(key=delivery), cities)).id

    async with app:
        first, second = await asyncio.gather(hook("delivery-7", ["Rome"]), hook("delivery-7", ["Rome"]))
        assert first == second
        with pytest.raises(KeyConflict, match=f"taken by run {first}, which has another input") as raised:
            await hook("delivery-7", ["Oslo"])
        assert raised.value.run_id == first
        assert await (await app.get(report, "delivery-7")).result() == {"Rome": 4}
        assert len([status async for status in app.runs(task=report)]) == 1
    async with app:
        assert await hook("delivery-7", ["Rome"]) == first


# A unit test ----------------------------------------------------------------------------------------------------------


@runs_in_a_loop
async def test_a_workflow_is_tested_with_a_stubbed_task():
    async with TestApp(app) as test:
        test.stub(count, lambda city: 100)
        assert await test.run(report, ["Rome", "Oslo"]) == {"Rome": 100, "Oslo": 100}
        run = await test.start(report.options(key="k"), ["Rome"])
        await test.result(run)
        assert [child.input async for child in run.children()] == [{"city": "Rome"}]
        assert ((await run.status()).key, run.id) == ("k", (await test.start(report.options(key="k"), ["Rome"])).id)
    assert files() == []


def test_a_task_is_tested_as_the_plain_function_that_it_is():
    assert asyncio.run(count.fn("Rome")) == 4
