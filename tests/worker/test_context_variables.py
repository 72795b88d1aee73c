"""What a body sets in a ContextVar is gone with it: no other body sees it, on the loop, in threads or in processes."""

import asyncio
from contextvars import ContextVar
from typing import Any

import pytest

from fanfold import App, Retry

BODIES = 40

mark: ContextVar[str] = ContextVar("mark", default="unset")
app = App("marks", store="sqlite://", threads=2, processes=1)


@app.task
async def at_once(n: int) -> list[str]:
    return [mark.get(), set_to(n)]


@app.task
async def suspended(n: int) -> list[str]:
    before = [mark.get(), set_to(n)]
    await asyncio.sleep(0)
    after = await asyncio.create_task(of_a_task_of_its_own())
    return [*before, mark.get(), after]


@app.task
def in_a_thread(n: int) -> list[str]:
    return [mark.get(), set_to(n)]


@app.task(executor="process")
def in_a_process(n: int) -> list[str]:
    return [mark.get(), set_to(n)]


@app.task(executor="process")
async def suspended_in_a_process(n: int) -> list[str]:
    before = [mark.get(), set_to(n)]
    await asyncio.sleep(0)
    return [*before, mark.get(), await of_a_task_of_its_own()]


async def of_a_task_of_its_own() -> str:
    return mark.get()


def set_to(n: int) -> str:
    mark.set(f"set by {n}")
    return mark.get()


TASKS = [at_once, suspended, in_a_thread, in_a_process, suspended_in_a_process]


@app.workflow
async def all_of(name: str) -> list[list[str]]:
    task: Any = next(task for task in TASKS if task.name == name)
    return await task.map(range(BODIES))


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_a_body_finds_no_context_variable_as_another_one_left_it(task: Any):
    mark.set("set by the program")
    found = app.run(all_of, task.name)
    assert found == [["unset"] + [f"set by {n}"] * (len(row) - 1) for n, row in enumerate(found)]
    assert len(found) == BODIES
    assert mark.get() == "set by the program"


@pytest.mark.parametrize("is_async", [True, False])
def test_a_retried_body_finds_no_context_variable_as_its_earlier_attempt_left_it(*, is_async: bool):
    marks, seen = App("again", store="sqlite://", default_retry=Retry(max_attempts=2, delay=0)), list[str]()

    def fail_once() -> str:
        seen.append(mark.get())
        set_to(len(seen))
        if len(seen) == 1:
            raise LookupError
        return mark.get()

    async def fail_once_on_the_loop() -> str:
        return fail_once()

    task: Any = marks.task(fail_once_on_the_loop if is_async else fail_once)
    assert marks.run(task) == "set by 2"
    assert seen == ["unset", "unset"]
