"""Make `.venv`, or leave it alone when it already is what the lock asks for.

Two stamps inside the environment say what it was made from. The first covers the lock, the interpreter and
the tree's own path (an environment cannot be moved); when it differs, the environment is made anew. The second
covers what an editable install writes down from pyproject.toml; when it differs, only fanfold is installed again.
A stamp is written last, so an environment left half-made by Ctrl-C or a crash is never taken for a whole one.
"""

import fcntl
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements.lock"
VENV = ROOT / ".venv"


def environment_stamp() -> str:
    """Return what the environment depends on: lock, interpreter, place."""
    lock = hashlib.sha256(LOCK.read_bytes()).hexdigest()
    return json.dumps({"lock": lock, "python": platform.python_version(), "base": sys.base_prefix, "tree": str(ROOT)})


def project_stamp() -> str:
    """Return what the editable install depends on: metadata, entry points, build settings."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    return json.dumps([settings["build-system"], settings["project"], settings["tool"]["hatch"]])


def pip(*arguments: str) -> None:
    """Run the environment's pip, whatever the caller's own pip settings say about users and roots."""
    settings = os.environ | {"PIP_USER": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_ROOT_USER_ACTION": "ignore"}
    settings.pop("PIP_REQUIRE_HASHES", None)  # it would refuse fanfold itself, which no hash can name
    subprocess.run([str(VENV / "bin" / "python"), "-m", "pip", *arguments], check=True, cwd=ROOT, env=settings)


def is_current(stamp: Path, text: str) -> bool:
    """Say whether the stamp holds this text, in an environment whose interpreter is still there."""
    return (VENV / "bin" / "python").exists() and stamp.is_file() and stamp.read_text() == text


def main() -> None:
    """Bring `.venv` up to date; a second caller waits for the first one."""
    environment, project = VENV / "environment.stamp", VENV / "project.stamp"
    with LOCK.open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not is_current(environment, environment_stamp()):
            print(f"making .venv with Python {platform.python_version()}", flush=True)
            shutil.rmtree(VENV, ignore_errors=True)
            # With .venv active, `python3` is the very interpreter that was just removed: ask the one below it.
            python = getattr(sys, "_base_executable", sys.executable)
            subprocess.run([python, "-m", "venv", str(VENV)], check=True)
            pip("install", "--quiet", "--require-hashes", "--only-binary", ":all:", "--requirement", str(LOCK))
            environment.write_text(environment_stamp())
        if not is_current(project, project_stamp()):
            pip("install", "--quiet", "--no-index", "--no-deps", "--no-build-isolation", "--editable", ".")
            project.write_text(project_stamp())


if __name__ == "__main__":
    try:
        main()
    except subprocess.CalledProcessError as error:
        sys.exit(f"fanfold: could not make .venv: this command failed: {' '.join(error.cmd)}")
