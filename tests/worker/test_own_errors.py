"""Exceptions of the program's own are matched by its policies, wherever a body runs and whatever the program is."""

import json
from pathlib import Path

import pytest

from tests.worker.test_reference import run_script

PROGRAM = """
import asyncio, sys
from fanfold import App, Retry, TaskFailed, current

app = App("shop", store="sqlite:///shop.db", processes=1)

class OutOfStock(Exception):
    pass

class Sold(OutOfStock):
    pass

AGAIN = Retry(delay=0, retry_on=(OutOfStock,))

def order() -> int:
    if current().attempt < 3:
        raise Sold("come back later")
    return current().attempt

@app.task(retry=AGAIN, executor="process")
def in_process() -> int:
    return order()

@app.task(retry=AGAIN)
def in_thread() -> int:
    return order()

@app.task(retry=Retry(delay=0, give_up_on=(OutOfStock,)), executor="process")
def gives_up() -> int:
    return order()

@app.task(executor="process")
def in_process_by_the_call() -> int:
    return order()

@app.task
def in_thread_by_the_call() -> int:
    return order()

@app.workflow
async def calls() -> list[int]:
    return [await task.options(retry=AGAIN)() for task in (in_process_by_the_call, in_thread_by_the_call)]

def tried(task) -> object:
    try:
        return app.run(task)
    except TaskFailed as failed:
        return f"{failed.error_type} in attempt {failed.attempts}"

async def start() -> None:
    async with app:
        for task in (in_process_by_the_call, in_thread_by_the_call):
            await app.start(task.options(retry=AGAIN, delay=3600))

async def go_on() -> list[int]:
    import apsw
    connection = apsw.Connection("shop.db")
    connection.execute("UPDATE runs SET available_at = 0")
    connection.close()
    async with app:
        return [await (await app.get(id)).result(timeout=20) for id in (1, 2)]

def main() -> None:
    import json
    if sys.argv[1:] == ["start"]:
        asyncio.run(start())
    elif sys.argv[1:] == ["go_on"]:
        print(json.dumps(asyncio.run(go_on())))
    else:
        print(json.dumps([tried(task) for task in (in_process, in_thread, gives_up, calls)]))

if __name__ == "__main__":
    main()
"""
WAYS = {
    "script": ["shop.py"],
    "module": ["-m", "shop"],
    "imported": ["-c", "import shop; shop.main()"],
}


def run(folder: Path, way: str, *arguments: str) -> str:
    done = run_script(folder / "shop.py", *WAYS[way], *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("way", WAYS)
def test_a_policy_names_a_class_of_the_program_and_its_bodies_raise_it(way: str, tmp_path: Path):
    (tmp_path / "shop.py").write_text(PROGRAM)
    assert json.loads(run(tmp_path, way)) == [3, 3, "Sold in attempt 1", [3, 3]]


@pytest.mark.parametrize(("first", "then"), [("imported", "script"), ("script", "imported"), ("script", "module")])
def test_a_policy_that_one_program_has_stored_holds_in_the_next(first: str, then: str, tmp_path: Path):
    (tmp_path / "shop.py").write_text(PROGRAM)
    run(tmp_path, first, "start")
    assert json.loads(run(tmp_path, then, "go_on")) == [3, 3]
