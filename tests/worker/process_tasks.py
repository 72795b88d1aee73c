"""Tasks for bodies in processes, and a pool that runs them without an engine. Its processes import this module."""

import asyncio
import contextlib
import faulthandler
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil

from fanfold import App, RetryAfter, current
from fanfold.model.run import Claimed, NewRun
from fanfold.worker.body import Body
from fanfold.worker.context import Context
from fanfold.worker.executors.processes import Output, ProcessExecutor
from fanfold.worker.reference import Reference
from fanfold.worker.slots import Slots
from fanfold.worker.task import Task
from tests.house.source import ROOT
from tests.store.bench import new_run

LIMIT_S = 30.0  # longer than any of it takes on the slowest machine
LOOK_S = 0.005

app = App("processes")
loaded = [0]


def write_down(name: str) -> None:
    """Write this process's id into a file, whole or not at all."""
    Path(name + ".part").write_text(str(os.getpid()))
    Path(name + ".part").rename(name)


class Wrong(ValueError):
    """An error of the program's own."""


@app.task(executor="process")
def add(left: int, right: int) -> int:
    loaded[0] += 1
    return left + right


@app.task(executor="process", name="another-name")
def named(n: int) -> int:
    return -n


@app.task(executor="process")
async def add_slowly(left: int, right: int) -> int:
    await asyncio.sleep(0)
    return left + right


@app.task(executor="process")
def repeat(text: str, times: int) -> str:
    return text * times


@app.task(executor="process")
def fails(text: str) -> None:
    raise Wrong(text)


@app.task(executor="process")
def exits(status: int) -> None:
    sys.exit(status)


@app.task(executor="process")
def lies() -> int:
    return "no number"  # pyright: ignore[reportReturnType]


@app.task(executor="process")
def makes_a_lock() -> object:
    return threading.Lock()


@app.task(executor="process")
def keeps_a_lock(n: int) -> int:
    lock = threading.Lock()
    with lock:
        return [lambda: n][0]()


@app.task(executor="process")
def kills_itself() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@app.task(executor="process")
def segfaults() -> None:
    faulthandler.disable()
    os.kill(os.getpid(), signal.SIGSEGV)


@app.task(executor="process")
def leaves(status: int) -> None:
    os._exit(status)


@app.task(executor="process")
def own_pid() -> int:
    return os.getpid()


@app.task(executor="process")
def prints(text: str) -> None:
    print(text)
    print(text, file=sys.stderr)


@app.task(executor="process")
def reads_input() -> str:
    return sys.stdin.read()


@app.task(executor="process")
def waits_for(path: str, began: str) -> int:
    """Write down the process id, and wait until there is a file."""
    write_down(began)
    while not Path(path).exists():
        threading.Event().wait(LOOK_S)
    return os.getpid()


@app.task(executor="process")
def who() -> dict[str, Any]:
    run = current()
    return {
        "id": run.id, "key": run.key, "parent_id": run.parent_id, "attempt": run.attempt, "version": run.version,
        "tags": run.tags, "idempotency_key": run.idempotency_key,
    }  # fmt: skip


@app.task(executor="process")
def counts_without_a_break(n: int) -> int:
    """Stay in C code that keeps the interpreter locked."""
    return sum(range(n))


@app.task(executor="process")
def forks_and_leaves(began: str) -> None:
    """Leave a process behind that has a copy of everything that is open here."""
    if not os.fork():
        write_down(began)
        signal.pause()
    while not Path(began).exists():
        threading.Event().wait(LOOK_S)
    os._exit(3)


@app.task(executor="process")
def asks_to_wait(delay: float) -> None:
    raise RetryAfter(delay)


@app.task(executor="process")
def reports(n: int) -> None:
    for done in range(n):
        current().report_progress(done, n, "at it")


@app.task(executor="process")
def calls() -> None:
    add(1, 2)


@app.task(executor="process")
def starts_an_engine() -> None:
    ProcessExecutor(1, Slots(1), lambda body: None, lambda body, value, error: None)


@app.task(executor="process")
def surroundings() -> dict[str, Any]:
    ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    return {"folder": str(Path.cwd()), "argv": sys.argv, "path": sys.path, "ignores_interrupts": ignored}


@app.task(executor="process")
def open_files() -> list[str]:
    """List what this process has open, as Linux knows it."""
    names: list[str] = []
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # the folder itself, while it is read
            names.append(str(entry.readlink()))
    return names


@contextlib.asynccontextmanager
async def lifespan() -> AsyncIterator[dict[str, Any]]:
    """Yield a state that lives on a loop, and write down when it ends."""
    state = {"loop": id(asyncio.get_running_loop()), "beats": 0, "entered": loaded[0]}

    async def beat() -> None:
        while True:
            state["beats"] += 1
            await asyncio.sleep(LOOK_S)

    async with asyncio.TaskGroup() as group:
        beating = group.create_task(beat())
        yield state
        beating.cancel()
    write_down("left")


@contextlib.asynccontextmanager
async def broken_lifespan() -> AsyncIterator[None]:
    raise Wrong("no database")
    yield


@app.task(executor="process")
async def same_loop() -> bool:
    state: Any = current()
    return state.state["loop"] == id(asyncio.get_running_loop())


@app.task(executor="process")
def beats() -> int:
    state: Any = current()
    return state.state["beats"]


def plain(n: int) -> int:
    return n + 100


registered = app.task(executor="process", name="registered")(plain)


def is_alive(pid: int) -> bool:
    """Tell whether a process runs; what only waits to be reaped by somebody else does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}


def touch(name: str) -> None:
    Path(name).touch()


def remove(name: str) -> None:
    Path(name).unlink()


def read(name: str) -> str:
    return Path(name).read_text()


def is_there(name: str) -> bool:
    return Path(name).exists()


class ToldContext(Context):
    """A context that keeps what it is told."""

    def __init__(self, run: NewRun | Claimed) -> None:
        super().__init__(run, 1_000, "store")
        self.progress: list[tuple[float, float | None, str | None]] = []

    def report_progress(self, done: float, total: float | None = None, message: str | None = None) -> None:
        self.progress.append((done, total, message))


class Pool:
    """A process executor with its surroundings made by hand, and what it told."""

    def __init__(self, processes: int = 1, slots: int = 100, lifespan: Reference | None = None) -> None:
        self.slots = Slots(slots)
        self.values: dict[int, str] = {}
        self.errors: dict[int, BaseException] = {}
        self.began: list[int] = []
        self.told: list[int] = []
        self.executor = ProcessExecutor(processes, self.slots, self._on_begin, self._finish, lifespan=lifespan)
        self.slots.executors.append(self.executor)
        self._number = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.executor.close()

    def _on_begin(self, body: Body) -> None:
        self.began.append(body.run.id)

    def _finish(self, body: Body, value: Any, error: BaseException | None) -> None:
        body.is_over = True
        self.told.append(body.run.id)
        if isinstance(value, Output):
            self.values[body.run.id] = value.text
        else:
            assert error is not None
            self.errors[body.run.id] = error

    def body(self, task: Task[..., Any], *args: Any, claimed: Claimed | None = None, **fields: Any) -> Body:
        """Return a body of a new run, or of a claimed one."""
        self._number += 1
        text, _ = task.signature.encode(args, {})
        run: NewRun | Claimed = claimed or new_run(self._number, name=task.name, input=text, **fields)
        return Body(run, 1, task, ToldContext(run))

    def submit(self, task: Task[..., Any], *args: Any, **fields: Any) -> Body:
        body = self.body(task, *args, **fields)
        self.executor.submit(body)
        return body

    async def until(self, is_so: Callable[[], object]) -> None:
        """Wait for a state."""
        async with asyncio.timeout(LIMIT_S):
            while not is_so():  # noqa: ASYNC110 - a file, a process and a set have no event
                await asyncio.sleep(LOOK_S)

    async def warm(self) -> None:
        """Run short bodies until a process is sent some ahead."""
        async with asyncio.timeout(LIMIT_S):
            while not any(process.room > 20 for process in self.executor._pool):
                await self.ended(*[self.submit(add, 1, n) for n in range(20)])

    async def ended(self, *bodies: Body) -> None:
        await self.until(lambda: all(body.run.id in self.told for body in bodies))

    async def value(self, body: Body) -> Any:
        await self.ended(body)
        if body.run.id in self.errors:
            raise self.errors[body.run.id]
        return body.task.signature.result.decode(self.values[body.run.id])

    async def error(self, body: Body) -> Any:
        await self.ended(body)
        return self.errors[body.run.id]
