"""Finds the app and the task that `app.py:task` or `package.module:task` names, by importing the user's code.

A file is loaded under its own stem, with its folder first on the path, as `python app.py` would.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import os
import sys
import traceback
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any, NamedTuple

import click

from fanfold.app import App
from fanfold.worker.task import Task


class Target(NamedTuple):
    """An app and one of its tasks."""

    app: App
    task: Task[..., Any]


def find(text: str) -> Target:
    """Import what `text` names and return its app and task; click's UsageError says what there is instead."""
    place, colon, name = text.rpartition(":")
    if not colon:
        place, name = text, ""
    app = _only_app(_load(place), place)
    if name in app.tasks:
        return Target(app, app.tasks[name])
    if not app.tasks:
        raise click.UsageError(f"{place} has no task: decorate a function with @app.task or @app.workflow")
    there_are = f"{place} has {', '.join(app.tasks)}"
    if not name:
        raise click.UsageError(f"which task? {there_are}: write {place}:{next(iter(app.tasks))}")
    raise click.UsageError(f"{place} has no task {name!r}.{_nearest(name, app.tasks)} {there_are}")


def _nearest(name: str, names: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, names, n=1)
    return f" Did you mean {near[0]!r}?" if near else ""


def _load(place: str) -> ModuleType:
    cwd = str(Path.cwd())
    if place.endswith(".py") or os.sep in place:
        path = Path(place).resolve()
        if not path.is_file():
            near = _nearest(path.name, (entry.name for entry in path.parent.glob("*.py")))
            raise click.UsageError(f"there is no file {place}.{near}")
        sys.path.insert(0, str(path.parent))
        if cwd not in sys.path:
            sys.path.append(cwd)  # so that a file below can import from the folder that the command runs in
        return _import(place, lambda: _load_file(path))
    if not all(part.isidentifier() for part in place.split(".")):
        raise click.UsageError(f"{place!r} is neither a file like app.py nor a module like package.app")
    sys.path.insert(0, cwd)
    return _import(place, lambda: importlib.import_module(place))


def _load_file(path: Path) -> ModuleType:
    # A file called like a module that is in use already must not take its place.
    name = path.stem if path.stem not in sys.modules else f"__{path.stem}__"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise click.UsageError(f"{path} is not Python")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # annotations are resolved through it
    spec.loader.exec_module(module)
    return module


def _import(place: str, load: Any) -> ModuleType:
    try:
        return load()
    except (click.ClickException, KeyboardInterrupt):
        raise
    except ModuleNotFoundError as error:
        if error.name and (place == error.name or place.startswith(f"{error.name}.")):
            raise click.UsageError(f"there is no module {error.name!r} here; a file is written {place}.py") from None
        raise CannotImport(place, error) from None
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever the user's code does at import
        raise CannotImport(place, error) from None


def _only_app(module: ModuleType, place: str) -> App:
    apps: dict[int, list[str]] = {}
    for name, value in vars(module).items():
        if isinstance(value, App):
            apps.setdefault(id(value), []).append(name)
    if not apps:
        raise click.UsageError(f"{place} has no App: it needs a line like `app = App()` at its top level")
    if len(apps) > 1:
        names = ", ".join(names[0] for names in apps.values())
        raise click.UsageError(f"{place} has {len(apps)} apps ({names}); keep one in a module")
    (names,) = apps.values()
    return getattr(module, names[0])


class CannotImport(click.ClickException):
    """The user's code raised while it was imported."""

    exit_code = 1

    def __init__(self, place: str, error: BaseException) -> None:
        lines = traceback.format_exception(type(error), error, _users_part(error.__traceback__))
        super().__init__(f"{place} cannot be imported:\n\n{''.join(lines).rstrip()}")


def _users_part(trace: TracebackType | None) -> TracebackType | None:
    """Leave out the frames of the import machinery and of this module."""
    while trace is not None:
        filename = trace.tb_frame.f_code.co_filename
        if filename not in (__file__, importlib.__file__) and not filename.startswith("<frozen importlib"):
            return trace
        trace = trace.tb_next
    return None
