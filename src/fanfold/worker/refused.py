"""What the durable loop refuses: a replay could not repeat it. It belongs in a task."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from fanfold.errors import NotAllowed

# Method of an asyncio loop -> what it is, as the message names it.
REFUSED: Final[dict[str, str]] = {
    "run_in_executor": "threads",
    "call_soon_threadsafe": "calls from other threads",
    "set_default_executor": "threads",
    "getaddrinfo": "name look-ups",
    "getnameinfo": "name look-ups",
    "create_connection": "network connections",
    "create_server": "servers",
    "create_unix_connection": "sockets",
    "create_unix_server": "servers",
    "create_datagram_endpoint": "sockets",
    "connect_accepted_socket": "sockets",
    "start_tls": "network connections",
    "sendfile": "files and sockets",
    "sock_sendfile": "files and sockets",
    "sock_recv": "sockets",
    "sock_recv_into": "sockets",
    "sock_recvfrom": "sockets",
    "sock_recvfrom_into": "sockets",
    "sock_sendall": "sockets",
    "sock_sendto": "sockets",
    "sock_connect": "sockets",
    "sock_accept": "sockets",
    "add_reader": "file descriptors",
    "remove_reader": "file descriptors",
    "add_writer": "file descriptors",
    "remove_writer": "file descriptors",
    "connect_read_pipe": "pipes",
    "connect_write_pipe": "pipes",
    "subprocess_shell": "subprocesses",
    "subprocess_exec": "subprocesses",
    "add_signal_handler": "signals",
    "remove_signal_handler": "signals",
    "run_forever": "running the loop by hand",
    "run_until_complete": "running the loop by hand",
    "stop": "stopping the loop by hand",
    "set_task_factory": "other task factories",
    "set_exception_handler": "other exception handlers",
}


def refusal(name: str) -> Callable[..., Any]:
    """Return the method that raises for the loop method `name`."""
    what = REFUSED[name]

    def refused(loop: Any, *_args: Any, **_kwargs: Any) -> Any:
        if loop.is_closed():
            return loop.never()
        raise NotAllowed(
            f"a workflow may not use {what} (loop.{name}): a replay could not repeat it. Do this in a task"
        )

    refused.__doc__ = f"Refuse: {what} belong in a task."
    return refused
