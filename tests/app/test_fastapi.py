"""A FastAPI application: the app is at work in its lifespan, endpoints start runs and tell how they stand."""

import contextlib
from collections.abc import AsyncIterator

import fastapi
import httpx
import pydantic

from fanfold import App, KeyConflict, NotFound
from tests.app.program import LIMIT_S, runs_in_a_loop

app = App("thumbnails", store="sqlite:///thumbnails.db", threads=2)


class Picture(pydantic.BaseModel):
    name: str
    widths: list[int]


@app.task
def thumbnail(name: str, width: int) -> str:
    return f"{width}/{name}"


@app.workflow
async def thumbnails(picture: Picture) -> list[str]:
    return await thumbnail.starmap((picture.name, width) for width in picture.widths)


@contextlib.asynccontextmanager
async def at_work(_: fastapi.FastAPI) -> AsyncIterator[None]:
    async with app:
        yield


def make_web() -> fastapi.FastAPI:
    """Return the web application, as a server loads it at its start."""
    web = fastapi.FastAPI(lifespan=at_work)

    @web.post("/pictures", status_code=202)
    async def start(picture: Picture) -> dict[str, int]:
        try:
            run = await app.start(thumbnails.options(key=picture.name), picture)
        except KeyConflict as error:
            raise fastapi.HTTPException(409, str(error)) from None
        return {"id": run.id}

    @web.get("/pictures/{id}")
    async def look(id: int) -> dict[str, object]:
        try:
            status = await (await app.get(id)).status()
        except NotFound as error:
            raise fastapi.HTTPException(404, str(error)) from None
        return {"state": status.state, "files": status.output}

    @web.get("/pictures/{name}/files")
    async def files(name: str) -> list[str]:
        return await (await app.get(thumbnails, name)).result(timeout=LIMIT_S)

    @web.post("/widths/{width}")
    def in_a_thread_of_the_server(width: int) -> str:
        return app.blocking.start(thumbnail, "a.png", width).result(timeout=LIMIT_S)

    return web


@contextlib.asynccontextmanager
async def served() -> AsyncIterator[httpx.AsyncClient]:
    """Start the application as a server does, and talk to it."""
    web = make_web()
    async with (
        web.router.lifespan_context(web),
        httpx.AsyncClient(transport=httpx.ASGITransport(web), base_url="http://web") as client,
    ):
        yield client


@runs_in_a_loop
async def test_endpoints_start_runs_and_tell_how_they_stand():
    async with served() as client:
        started = await client.post("/pictures", json={"name": "a.png", "widths": [10, 20]})
        assert started.status_code == 202
        assert (await client.get("/pictures/a.png/files")).json() == ["10/a.png", "20/a.png"]
        looked = await client.get(f"/pictures/{started.json()['id']}")
        assert looked.json() == {"state": "completed", "files": ["10/a.png", "20/a.png"]}
        assert (await client.get("/pictures/99")).status_code == 404
        assert (await client.post("/pictures", json={"name": "a.png", "widths": "all"})).status_code == 422


@runs_in_a_loop
async def test_a_request_that_is_repeated_is_the_same_run_also_after_a_restart_of_the_server():
    picture = {"name": "a.png", "widths": [10]}
    async with served() as client:
        first = (await client.post("/pictures", json=picture)).json()
        assert (await client.post("/pictures", json=picture)).json() == first
        assert (await client.post("/pictures", json=picture | {"widths": [11]})).status_code == 409
    async with served() as client:
        assert (await client.post("/pictures", json=picture)).json() == first
        assert (await client.get("/pictures/a.png/files")).json() == ["10/a.png"]


@runs_in_a_loop
async def test_a_plain_endpoint_waits_for_a_run_in_a_thread_of_the_server():
    async with served() as client:
        assert (await client.post("/widths/30")).json() == "30/a.png"
