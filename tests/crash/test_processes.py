"""An engine that is killed while bodies run in processes: those end with it, and nobody who goes on has to wait."""

import contextlib
import os
import signal
import subprocess
from pathlib import Path

import psutil

from fanfold.model import lifecycle
from tests.crash.kill_at_commit import NEVER, PATIENCE_S, kill_later, run, start
from tests.crash.remains import look_into

BODIES = 3
# Until there is a file `go`, a body does not end, and leaves a fork of its own.
SCRIPT = """
import os, signal, threading
from pathlib import Path
from fanfold import App, current

app = App("pool", processes=3)
folder = Path(__file__).parent

def note(name, *words):
    with open(folder / name, "a") as log:
        print(*words, file=log)

@app.task(executor="process")
def works(n: int) -> int:
    if not (folder / "go").exists():
        if not os.fork():
            note("forks", os.getpid())
            signal.pause()
        note("bodies", os.getpid(), current().id)
        while True:
            threading.Event().wait(0.005)
    note("again", current().id, current().attempt)
    return n + 1

@app.workflow
async def total(n: int) -> list[int]:
    return await works.map(range(n))

if __name__ == "__main__":
    print(app.run(total, 3))
"""


def lines(log: Path) -> list[list[int]]:
    return [[int(word) for word in line.split()] for line in log.read_text().splitlines()]


def is_alive(pid: int) -> bool:
    """Tell whether a process runs; one that nobody has waited for does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_the_processes_of_a_killed_engine_end_and_what_they_left_behind_keeps_nobody_from_going_on(tmp_path: Path):
    script, store, bodies, forks = (tmp_path / name for name in ("pool.py", "pool.db", "bodies", "forks"))
    script.write_text(SCRIPT)
    env = {"FANFOLD_STORE": f"sqlite:///{store}"}
    # No pipes: the forks would keep them open.
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    assert kill_later(start(str(script), NEVER, env, **silent), bodies, BODIES, 0).was_killed
    try:
        left = look_into(store)
        assert left.violations == []
        at_work = {id: left.runs[id] for _, id in lines(bodies)}
        assert [row["state"] for row in at_work.values()] == [lifecycle.RUNNING] * BODIES

        (tmp_path / "go").touch()
        second = run(str(script), NEVER, env, tmp_path)
        assert second.output == "[1, 2, 3]\n"
        assert all(is_alive(pid) for (pid,) in lines(forks)), "nothing was left behind: this shows nothing"
    finally:
        for (pid,) in lines(forks):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    pool = [psutil.Process(pid) for pid, _ in lines(bodies) if is_alive(pid)]
    _, alive = psutil.wait_procs(pool, timeout=PATIENCE_S)
    assert not [process for process in alive if is_alive(process.pid)]

    after = look_into(store)
    assert after.violations == []
    assert sorted(lines(tmp_path / "again")) == [[id, 1] for id in sorted(at_work)], "a crash counted as a try"
    # Which of them the engine knew to be at work is a matter of luck.
    assert all(after.runs[id]["crashes"] <= 1 for id in at_work)
    assert after.attempts == {}
