"""The keys by which a parent knows its children; each kind has a namespace of its own.

`k:` keys that users give, `r:` roots that tasks start without one, `p:` places in a workflow's code, `c:` contents of a
task's calls, `x:` requests to cancel. A later attempt of a task marks the namespace of the children that it starts:
`k#2:`, `c#2:`; users' texts come after the colon, so nothing collides.
"""

from __future__ import annotations

USER = "k"
CONTENT = "c"


def user_key(text: str) -> str:
    """Return the stored form of a key that a user gave."""
    return f"{USER}:{text}"


def start_key(text: str) -> str:
    """Return the key of a root that a task starts without one: so that a retried body finds it."""
    return f"r:{text}"


def content_key(content: str, count: int) -> str:
    """Return the key of a call in a task: a hash of task and input, and how many equal calls came before."""
    return f"{CONTENT}:{content}:{count}"


def member_key(position: int) -> str:
    """Return the key of a workflow's group's member: its place among the items, so that keys are in that order."""
    return f"p:{position:08x}"


def group_key(name: str, count: int) -> str:
    """Return the key of a task's group: whose members it has, and how many such groups came before."""
    return f"g:{name}:{count}"


def fold_key(group_key: str, count: int) -> str:
    """Return the key of a fold of a task's group."""
    return f"f:{group_key}:{count}"


def is_member_key(key: str) -> bool:
    """Tell whether a key is that of a workflow's group's member, by its place."""
    return key.startswith("p:")


def sibling_key(spawner: int, count: int) -> str:
    """Return the key of a member that another one has added, without a key of its own."""
    return f"s:{spawner}:{count}"


def of_attempt(key: str, attempt: int) -> str:
    """Return the key of a child that this attempt (from 1) of its parent starts afresh."""
    if attempt == 1:
        return key
    space, _, rest = key.partition(":")
    return f"{space}#{attempt}:{rest}"


def shown(key: str | None) -> str | None:
    """Return a key as users gave it; None for a key that is none of theirs."""
    if key is None:
        return None
    space, _, rest = key.partition(":")
    return rest if space.partition("#")[0] == USER else None
