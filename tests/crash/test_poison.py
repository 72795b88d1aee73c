"""Bodies that kill their process: one that always does is quarantined, alone; who lived beside it or waits goes on."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fanfold.model import lifecycle
from tests.crash.kill_at_commit import NEVER, PATIENCE_S, run
from tests.crash.remains import look_into

# One of the thousand kills its process in each life; in the first two it waits until a dozen innocents are at work.
POISON = """
import asyncio, json, os, signal, threading
from pathlib import Path
from fanfold import App, TaskFailed

app = App("poison", threads=20, slots=100)
MANY, POISON, INNOCENT = 1_000, 500, {*range(494, 507)} - {500}
is_crowded = int(os.environ["LIFE"]) <= 2
at_work = threading.Semaphore(0)

async def on_the_loop(n: int) -> int:
    if is_crowded and n in INNOCENT:
        at_work.release()
        await asyncio.Event().wait()
    for _ in INNOCENT if is_crowded and n == POISON else ():
        while not at_work.acquire(blocking=False):
            await asyncio.sleep(0)
    if n == POISON:
        os.kill(os.getpid(), signal.SIGKILL)
    return n

def in_a_thread(n: int) -> int:
    if is_crowded and n in INNOCENT:
        at_work.release()
        threading.Event().wait()
    for _ in INNOCENT if is_crowded and n == POISON else ():
        at_work.acquire()
    if n == POISON:
        os.kill(os.getpid(), signal.SIGKILL)
    return n

member = app.task({body}, name="member")

async def all_members() -> str:
    came = await asyncio.gather(*(member(n) for n in range(MANY)), return_exceptions=True)
    good = [one for one in came if not isinstance(one, BaseException)]
    bad = [(n, one.error_type, one.run_id) for n, one in enumerate(came) if isinstance(one, TaskFailed)]
    return json.dumps([len(good), bad])

parent = app.{kind}(all_members)
if __name__ == "__main__":
    print(app.run(parent))
"""


@pytest.mark.parametrize(("kind", "body"), [("workflow", "on_the_loop"), ("task", "in_a_thread")])
def test_a_poison_body_among_a_thousand_is_the_only_one_that_is_quarantined(tmp_path: Path, kind: str, body: str):
    script, store = tmp_path / "poison.py", tmp_path / "poison.db"
    script.write_text(POISON.replace("{kind}", kind).replace("{body}", body))
    env = {"FANFOLD_STORE": f"sqlite:///{store}"}
    for life in (1, 2):
        assert run(str(script), NEVER, env | {"LIFE": str(life)}, tmp_path).was_killed
        left = look_into(store)
        assert left.violations == []
        at_work = [row for row in left.runs.values() if row["state"] == lifecycle.RUNNING and row["name"] == "member"]
        assert len(at_work) > 12, "no innocents were at work beside it"
    assert run(str(script), NEVER, env | {"LIFE": "3"}, tmp_path).was_killed

    good, bad = run(str(script), NEVER, env | {"LIFE": "4"}, tmp_path).result
    assert good == 999
    assert [(number, kind) for number, kind, _ in bad] == [(500, "Quarantined")]
    after = look_into(store)
    assert after.violations == []
    assert [row["id"] for row in after.runs.values() if row["state"] == lifecycle.FAILED] == [bad[0][2]]
    assert all(lifecycle.is_terminal(row["state"]) for row in after.runs.values())
    assert [row["state"] for row in after.roots] == [lifecycle.COMPLETED]


# Each life is a fork of one process that has nothing open: fifty starts of an interpreter would take too long.
PARENTS = """
import asyncio, os, signal
from pathlib import Path
from fanfold import App

app = App("parents", threads=2)
KILLS = 50

def die_once(name: str) -> None:
    if not Path(name).exists():
        Path(name).touch()
        os.kill(os.getpid(), signal.SIGKILL)

@app.task
async def child(n: int) -> int:
    return n

@app.task
def deadly_child(n: int) -> int:
    die_once(f"killed {n}")
    return n

@app.task
def waits_in_a_thread() -> int:
    return sum(deadly_child(n).result() for n in range(KILLS))

@app.task
async def waits_on_the_loop() -> int:
    return await waits_in_a_thread()

@app.workflow
async def waits() -> int:
    return await waits_on_the_loop()

@app.task
def dies_in_a_thread() -> int:
    total = 0
    for n in range(KILLS):
        total += child(n).result()
        die_once(f"killed {n}")
    return total

@app.task
async def dies_on_the_loop() -> int:
    total = 0
    for n in range(KILLS):
        total += await child(n)
        die_once(f"killed {n}")
    return total

def live() -> int:
    pid = os.fork()
    if pid == 0:
        print(app.run({root}), flush=True)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

kills = 0
while (code := live()) == -signal.SIGKILL and kills <= KILLS:
    kills += 1
print(kills, code)
"""


@pytest.mark.parametrize("root", ["waits", "dies_in_a_thread", "dies_on_the_loop"])
def test_a_parent_lives_through_fifty_kills_as_long_as_it_gets_on_between_them(tmp_path: Path, root: str):
    script, store = tmp_path / "parents.py", tmp_path / "parents.db"
    script.write_text(PARENTS.replace("{root}", root))
    ended = subprocess.run(
        [sys.executable, script], cwd=tmp_path, env=os.environ | {"FANFOLD_STORE": f"sqlite:///{store}"},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=2 * PATIENCE_S,
    )  # fmt: skip
    assert ended.stdout.splitlines() == [str(sum(range(50))), "50 0"], ended.stderr
    after = look_into(store)
    assert after.violations == []
    assert {row["state"] for row in after.runs.values()} == {lifecycle.COMPLETED}
    assert max(row["crashes"] for row in after.runs.values()) <= 1
