"""Runs a program that kills itself with SIGKILL at one of its commits. Its stacks are shown when it is aborted.

`python -m tests.crash.launcher N before|after|broken TARGET`: right before the N-th COMMIT is sent to SQLite, or right
after it returned and before anybody heard of it; `broken` does not kill, that commit and all later ones raise an error
that no database raises. N is 0: never. TARGET is a module, or the path of a script. With
CRASH_COMMITS set, the number of commits is written to that file when the program ends by itself; with CRASH_COUNT_FROM
they are counted from the moment at which that file exists; with CRASH_LOG_PAGES SQLite writes its log back whenever it
has that many pages.
"""

import atexit
import faulthandler
import os
import runpy
import signal
import sys
from pathlib import Path

from fanfold.store import sqlite
from fanfold.store.sqlite import SqliteDatabase

_commit = SqliteDatabase.commit


class Commits:
    """Counts the commits of this process, and ends it at one of them."""

    def __init__(self, last: int, when: str) -> None:
        self.last = last
        self.when = when
        self.count = 0
        self._from = os.environ.get("CRASH_COUNT_FROM")

    def watch(self) -> None:
        """Stand between the store and SQLite from now on."""
        commits = self

        async def commit(database: SqliteDatabase) -> None:
            if not commits.are_counted():
                await _commit(database)
                return
            commits.count += 1
            if commits.when == "broken" and 0 < commits.last <= commits.count:
                raise RuntimeError(f"commit {commits.count} is broken")
            commits.strike("before")
            await _commit(database)
            commits.strike("after")

        SqliteDatabase.commit = commit

    def are_counted(self) -> bool:
        """Tell whether the moment has come from which commits count."""
        return self._from is None or Path(self._from).exists()

    def strike(self, when: str) -> None:
        """Die, if this is the place."""
        if self.count == self.last and when == self.when:
            os.kill(os.getpid(), signal.SIGKILL)

    def report(self) -> None:
        """Write down how many commits there were."""
        if path := os.environ.get("CRASH_COMMITS"):
            Path(path).write_text(str(self.count))


def run(target: str) -> None:
    """Run a module or a script as the main program."""
    if target.endswith(".py"):
        runpy.run_path(target, run_name="__main__")
    else:
        runpy.run_module(target, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    commits = Commits(int(sys.argv[1]), sys.argv[2])
    target = sys.argv[3]
    del sys.argv[:3]
    faulthandler.enable()
    commits.watch()
    if pages := os.environ.get("CRASH_LOG_PAGES"):
        sqlite._PRAGMAS = (*sqlite._PRAGMAS, f"wal_autocheckpoint = {int(pages)}")
    atexit.register(commits.report)
    run(target)
