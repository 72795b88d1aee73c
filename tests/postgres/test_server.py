"""The server under the tests: one beside the other, and gone whichever way the tests end."""

import shutil
import signal
import subprocess
import sys

import psutil
import pytest

from tests.house.source import ROOT
from tests.postgres import server
from tests.postgres.server import running_server
from tests.postgres.twins import Postgres

SERVES = """
import signal
from tests.postgres.server import running_server
with running_server() as host:
    print(host, flush=True)
    signal.pause()
"""


def serving(host: object) -> list[psutil.Process]:
    """List the processes of the server whose socket is in this folder."""
    return [process for process in psutil.process_iter(["cmdline"]) if str(host) in (process.info["cmdline"] or [])]


def test_two_servers_run_beside_each_other(postgres: Postgres):
    with running_server() as host:
        other = Postgres(host)
        assert other.read("SELECT count(*) AS n FROM pg_class WHERE relname = 'runs'") == [{"n": 0}]
        other.close()
        assert serving(host)
    assert not serving(host)
    assert not host.exists()
    assert postgres.read("SELECT count(*) AS n FROM pg_class WHERE relname = 'runs'") == [{"n": 1}]


def test_a_server_ends_with_tests_that_are_killed():
    tests = subprocess.Popen([sys.executable, "-c", SERVES], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    with tests:
        assert tests.stdout is not None
        host = tests.stdout.readline().strip()
        left = serving(host)
        tests.send_signal(signal.SIGKILL)
    assert left
    _, alive = psutil.wait_procs(left, timeout=20)
    assert not alive
    shutil.rmtree(host)


def test_a_server_that_cannot_start_says_why(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(server.SETTINGS, "max_connections", "many")
    with pytest.raises(RuntimeError, match="PostgreSQL ended with 1") as caught, running_server():
        pass
    assert 'invalid value for parameter "max_connections": "many"' in caught.value.__notes__[0]
