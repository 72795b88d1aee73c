"""How a task is found again in another process: by module and qualified name, never by sending code.

The main program is found by its file, loaded under a stand-in name, so that what it keeps below
`if __name__ == "__main__"` does not run. What cannot be found again is refused at decoration.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec

from fanfold.errors import FanfoldError, InvalidInput, NotAllowed, UnknownTask

MAIN = "__main__"
STAND_IN = "__mp_main__"  # what multiprocessing calls it: programs that look at their __name__ know that one


class ProcessNotReady(FanfoldError):
    """A process for bodies could not import what a body needs, or could not enter the app's lifespan."""


class Reference(msgspec.Struct, array_like=True, frozen=True):
    """Where a function is: `name` is its task's, `file` that of its module where there is one."""

    name: str
    module: str
    qualname: str
    file: str | None = None


def _folder() -> str:
    try:
        return str(Path.cwd())
    except OSError:  # it was removed; what is imported from it is gone as well
        return ""


# What was imported by a relative entry of sys.path was found from here, wherever the program has gone since.
_STARTED_IN = _folder()


def search_path() -> list[str]:
    """Return sys.path as another process needs it: absolute."""
    return [str(Path(_STARTED_IN, entry)) for entry in sys.path if isinstance(entry, str)]  # pyright: ignore[reportUnnecessaryIsInstance] - programs put paths there


def check_reference(function: Callable[..., Any]) -> None:
    """Raise InvalidInput for a function that another process could not find; for the moment of decoration."""
    what = None
    qualname = function.__qualname__
    if "<lambda>" in qualname:
        what = "it is a lambda"
    elif "<locals>" in qualname:
        what = f"it is defined inside {qualname.partition('.<locals>')[0]}()"
    elif not _has_source(function.__module__):
        what = "it is defined in an interactive session or a notebook, or its module was not imported from a file"
    if what is not None:
        raise InvalidInput(
            f'{qualname} cannot run with executor="process": {what}, and a process finds a function by its module and '
            "name. Define it with `def` at the top level of a module (a decorator in between keeps the name with "
            "functools.wraps), or run it in a thread"
        )


def _has_source(name: str) -> bool:
    module = sys.modules.get(name)
    if module is None:
        return False
    if name == MAIN:
        return module.__spec__ is not None or _is_file(getattr(module, "__file__", None))
    return module.__spec__ is not None or getattr(module, "__file__", None) is not None


def _is_file(path: str | None) -> bool:
    return path is not None and Path(_STARTED_IN, path).is_file()


def reference_to(function: Callable[..., Any], name: str) -> Reference:
    """Return where the function of the task `name` is found."""
    module = sys.modules.get(function.__module__)
    file: str | None = getattr(module, "__file__", None)
    if file is not None:
        file = str(Path(_STARTED_IN, file))
    module_name = function.__module__
    if module_name == MAIN:
        spec = None if module is None else module.__spec__
        # `python -m package.module` has a name of its own; a script, a folder and an archive have none.
        module_name = STAND_IN if spec is None or spec.name == MAIN else spec.name
    return Reference(name, module_name, function.__qualname__, file)


# In the other process ------------------------------------------------------------------------------------------------

_in_pool: list[bool] = []  # not empty in a process of a pool


def enter_process() -> None:
    """Take note that this process runs bodies for another one's engine."""
    _in_pool.append(True)


def refuse_in_process(what: str) -> None:
    """Raise NotAllowed in a process of a pool: its engine is in another one, and a second would start processes too."""
    if _in_pool:
        raise NotAllowed(
            f"{what} in a process of the pool: a process body is a leaf, and the program's file is loaded anew in each "
            'process. If this is the program\'s own start, put it below `if __name__ == "__main__":`'
        )


def find(reference: Reference) -> Any:
    """Import the module and return what has the name there: a task, a function, or whatever it is by now.

    Raises ProcessNotReady if the module cannot be imported, UnknownTask if the name is not there.
    """
    try:
        found: Any = _load(reference)
    except BaseException as error:  # whatever the module does at import: sys.exit() as well
        place = reference.file if reference.module == STAND_IN else f"the module {reference.module}"
        raise ProcessNotReady(
            f"{place} cannot be imported in a process, where {reference.name} should run: "
            f"{type(error).__name__}: {error}"
        ) from error
    for part in reference.qualname.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise UnknownTask(
                f"{reference.name} is not found in its process: {reference.file or reference.module} has no "
                f'{reference.qualname} when it is imported. Is it defined below `if __name__ == "__main__":`, or was '
                "the file changed?"
            ) from None
    return found


def _load(reference: Reference) -> ModuleType:
    name, file = reference.module, reference.file
    if name != STAND_IN and (file is None or _leads_to(name, file)):
        return importlib.import_module(name)
    loaded = sys.modules.get(name)
    if loaded is not None and loaded.__file__ == file:
        return loaded
    return _load_file(name, str(file))


def _leads_to(name: str, file: str) -> bool:
    """Tell whether importing `name` gives this file; not so for what was loaded by its path, under a made-up name."""
    try:
        spec = importlib.util.find_spec(name)
    except (ModuleNotFoundError, ValueError):
        return False
    return spec is not None and spec.origin is not None and Path(spec.origin).resolve() == Path(file).resolve()


def _load_file(name: str, file: str) -> ModuleType:
    # The loader is named, since a script may have any suffix.
    spec = importlib.util.spec_from_file_location(name, file, loader=SourceFileLoader(name, file))
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} is not Python")
    module = importlib.util.module_from_spec(spec)
    before = {key: sys.modules[key] for key in (name, MAIN) if key in sys.modules}
    sys.modules[name] = module  # annotations are resolved through it
    if name == STAND_IN:
        sys.modules[MAIN] = module  # what the program has stored under this name is found
    try:
        spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(name, None)
        sys.modules.update(before)
        raise
    return module
