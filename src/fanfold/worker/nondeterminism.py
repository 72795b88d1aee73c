"""What is said of code that does not fit its record: where, what was recorded, what the code does, and the ways out."""

from __future__ import annotations

from fanfold.model.run import End, Recorded
from fanfold.worker.source_lines import line_of_error

MOST_SHOWN = 200  # characters of an input
MOST_MESSAGE = 1000
MAIN_PATH = "/1"
OUTSIDE_PATH = "/0"


def explanation(name: str, reason: str) -> str:
    """Return what is stored with a paused run; a text that every database takes."""
    whole = (
        f"NonDeterminism in {name}: {reason}. Ways out: put the code back as it was; branch on "
        "current().version; or start another run of it, with a key of its own"
    )
    return whole.replace("\0", "\\x00").encode("utf-8", "backslashreplace").decode()


def whereabouts(key: str) -> str:
    """Return what a key says of a call, in words."""
    kind, _, rest = key.partition(":")
    if kind.partition("#")[0] == "k":
        return f"the call with key {rest!r}"
    path, _, count = rest.rpartition(":")
    if kind != "p" or not path:
        return f"the call {key}"
    if path == MAIN_PATH:
        return f"call {count} of the workflow's main task"
    if path == OUTSIDE_PATH:
        return f"call {count} made by callbacks, outside any task"
    return f"call {count} of task {path}"


def task_path(key: str) -> str:
    """Return the path of the asyncio task that made a call; the main one's if the key does not say."""
    return key[2:].rpartition(":")[0] if key.startswith("p:") else MAIN_PATH


def called(name: str, input_: str | None) -> str:
    """Return a call as people write it."""
    text = input_ or ""
    return f"{name}({text if len(text) <= MOST_SHOWN else text[:MOST_SHOWN] + '...'})"


def other_call(recorded: Recorded, name: str, input_: str | None, line: str) -> str:
    """Say that the code makes another call than was recorded."""
    return (
        f"at {whereabouts(recorded.key)} the record has {called(recorded.name, recorded.input)}, run {recorded.id}; "
        f"the code now calls {called(name, input_)}{_at(line)}"
    )


def missing_call(recorded: Recorded, instead: str) -> str:
    """Say that the code no longer makes a call. `instead` is what it does."""
    return (
        f"{whereabouts(recorded.key)} is recorded as {called(recorded.name, recorded.input)}, run {recorded.id}, "
        f"but the code no longer calls it: {instead}"
    )


def early_delivery(child: Recorded | None, id: int, waits_at: str) -> str:
    """Say that the record delivers a child before the code has called it."""
    what = f"run {id}" if child is None else f"run {id}, {whereabouts(child.key)}, {called(child.name, child.input)},"
    return f"{what} was delivered here, but the code has not called it: it waits{_at(waits_at)}"


def unreadable_result(name: str, end: End, error: BaseException, waits_at: str) -> str:
    """Say that a recorded result no longer fits the task that made it."""
    return (
        f"the recorded result of {name}, run {end.id}, can no longer be read: {shown(error)}. "
        f"The record has {(end.output or '')[:MOST_SHOWN]}; the code waits{_at(waits_at)}"
    )


def unreadable_input(input_: str | None, error: BaseException, line: str) -> str:
    """Say that a recorded input no longer fits the workflow's signature."""
    return f"its recorded input {(input_ or '')[:MOST_SHOWN]} can no longer be read{_at(line)}: {shown(error)}"


def ended(error: BaseException | None) -> str:
    """Say how code ended that should have gone on."""
    return "it returned without it" if error is None else f"it raised {shown(error)}{_at(line_of_error(error))}"


def waits(line: str) -> str:
    """Say where the code waits."""
    return f"it waits{_at(line)}"


def shown(error: BaseException) -> str:
    """Return type and message of an exception."""
    try:
        message = str(error)
    except Exception as broken:  # noqa: BLE001 - an exception whose text raises is shown all the same
        message = f"<its text raised {type(broken).__name__}>"
    kind = type(error).__name__
    return f"{kind}: {message[:MOST_MESSAGE]}" if message else kind


def _at(line: str) -> str:
    return f" at {line}" if line else ""
