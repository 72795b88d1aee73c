"""What goes through the pipe between the engine's process and one that runs bodies: texts, each with its length before.

Whatever is said here can be read by both sides and holds no code: nothing is pickled.
"""

from __future__ import annotations

import signal
from typing import Any

import msgspec

from fanfold.model.run import Claimed, NewRun
from fanfold.worker.reference import Reference

LENGTH_BYTES = 4
READ_BYTES = 256 << 10
# What a terminal or a supervisor sends to all processes of a program: the engine's decides what becomes of bodies.
SENT_TO_ALL = frozenset((signal.SIGINT, signal.SIGTERM, signal.SIGHUP))


class Setup(msgspec.Struct, array_like=True, tag="setup"):
    """The first message: what this process needs to know once."""

    argv: list[str]
    max_payload: int
    lifespan: Reference | None = None


class Call(msgspec.Struct, array_like=True, tag="call"):
    """Run this body: of a run that is either new or claimed."""

    number: int
    task: Reference
    idempotency_key: str
    new: NewRun | None
    claimed: Claimed | None


class TakeBack(msgspec.Struct, array_like=True, tag="take_back"):
    """Give back the calls that were not begun."""


class Leave(msgspec.Struct, array_like=True, tag="leave"):
    """Leave the lifespan and end."""


class Failure(msgspec.Struct, array_like=True):
    """What a body raised: the record of it, and the names that a retry policy looks at."""

    text: str
    kinds: list[str]
    retry_after_ms: int | None = None


class Report(msgspec.Struct, array_like=True):
    """What came of one call, and which one has begun; 0 is none. `returned` answers TakeBack, None does not.

    `progress` is what the body that runs has said of itself.
    """

    ended: int = 0
    output: str | None = None
    failure: Failure | None = None
    began: int = 0
    returned: list[int] | None = None
    progress: dict[str, Any] | None = None


Message = Setup | Call | TakeBack | Leave

_encoder = msgspec.json.Encoder()
messages_of = msgspec.json.Decoder(list[Message]).decode
report_of = msgspec.json.Decoder(Report).decode


def frame(message: list[Message] | Report) -> bytes:
    """Return a message with its length before it."""
    data = _encoder.encode(message)
    return len(data).to_bytes(LENGTH_BYTES, "big") + data


def take_frames(buffer: bytearray) -> list[bytes]:
    """Take the complete messages from the beginning of a buffer."""
    frames: list[bytes] = []
    start = 0
    while len(buffer) - start >= LENGTH_BYTES:
        begin = start + LENGTH_BYTES
        end = begin + int.from_bytes(buffer[start:begin], "big")
        if end > len(buffer):
            break
        frames.append(bytes(memoryview(buffer)[begin:end]))
        start = end
    del buffer[:start]
    return frames
