"""What is registered under a name: one function, and the same one when a cell defines it again."""

import asyncio
import functools

import pytest

from fanfold import App, InvalidInput, UnknownTask
from fanfold.errors import TaskFailed
from tests.app.program import runs_in_a_loop


def plain(function):
    """Decorate as people do who forget about coroutines."""

    @functools.wraps(function)
    def call(*args, **kwargs):
        return function(*args, **kwargs)

    return call


def cell(source: str, app: App, file: str) -> dict:
    """Run a cell of a notebook, each of which is compiled under a file name of its own."""
    names = {"app": app, "__name__": "__main__"}
    exec(compile(source, file, "exec"), names)
    return names


@pytest.mark.parametrize("wrong", [None, 2, "2\n", "\ud800"])
def test_a_version_is_a_text(wrong):
    with pytest.raises(InvalidInput, match=r"a version is a text, as in App\(version='2'\), not "):
        App(version=wrong)


def test_a_workflow_that_a_plain_decorator_hides_is_told_from_a_plain_function():
    app = App(store="sqlite://")
    with pytest.raises(InvalidInput, match="work is an `async def` in a decorator's plain function: make that one"):

        @app.workflow
        @plain
        async def work() -> int:
            return 1

    with pytest.raises(InvalidInput, match="other is a plain function; a workflow is an `async def`"):

        @app.workflow
        def other() -> int:
            return 1


def test_two_lambdas_of_one_name_are_two_tasks():
    app = App(store="sqlite://")
    app.task(name="grow")(lambda n: n + 1)
    with pytest.raises(
        InvalidInput, match=r"two tasks are called 'grow': .*<lambda> at .*\.py:\d+ and .*\.py:\d+\. Give"
    ):
        app.task(name="grow")(lambda n: n * 2)
    assert app.run(app.tasks["grow"], 5) == 6


def test_two_functions_in_a_function_are_two_tasks():
    app = App(store="sqlite://")
    if app:

        @app.task
        def grow(n: int) -> int:
            return n + 1

    with pytest.raises(InvalidInput, match="two tasks are called 'grow'"):

        @app.task
        def grow(n: int) -> int:
            return n * 2


@runs_in_a_loop
async def test_what_a_factory_has_made_before_is_not_taken_for_what_it_made_last():
    app = App(store="sqlite://")

    def times(factor: int):
        @app.task
        async def scaled(n: int) -> int:
            return n * factor

        return scaled

    double, triple = times(2), times(3)

    @app.workflow
    async def both(n: int) -> list[int]:
        return await asyncio.gather(double(n), triple(n))

    assert app.run(triple, 5) == 15
    with pytest.raises(UnknownTask, match=r"another task has the name scaled since: @app.task\(name=...\) tells them"):
        app.run(double, 5)
    with pytest.raises(TaskFailed) as raised:
        app.run(both, 5)
    assert raised.value.caused_by(UnknownTask)


GROW = "@app.task\ndef grow(n: int) -> int:\n    return n {0}"
INNER = f"def build():\n    {GROW.replace(chr(10), chr(10) + '    ')}\n    return grow\ngrow = build()"
LAMBDA = "grow = app.task(name='grow')(lambda n: n {0})"


@pytest.mark.parametrize("source", [GROW, INNER, LAMBDA])
@pytest.mark.parametrize("above", ["", "# edited\n\n"])
def test_a_cell_that_is_edited_and_run_again_replaces_its_task(source, above):
    app = App(store="sqlite://")
    for number, text in enumerate(("+ 1", "* 2")):
        names = cell(above * number + source.format(text), app, f"<cell {number}>")
    assert app.run(names["grow"], 5) == 10
