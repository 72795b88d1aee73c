"""Run ids, random numbers and unique ids: the only place that asks the machine for randomness.

Run ids are integers that grow, handed out in blocks: the store writes down the end of a block before the first id
of it is used, so an id is never given twice, whatever crashes.
"""

from __future__ import annotations

import random
import secrets
import threading
import uuid
from hashlib import blake2b

BLOCK = 10_000

# The types, for annotations elsewhere.
Random = random.Random
UUID = uuid.UUID


class IdSource:
    """Hands out run ids; `reserved` is the end of the block that each commit writes down."""

    def __init__(self, first: int) -> None:
        self._next = first
        self.reserved = first + BLOCK
        self._lock = threading.Lock()  # sync bodies start children from their threads

    def take(self) -> int:
        """Return the next id."""
        with self._lock:
            taken = self._next
            self._next = taken + 1
            if self._next >= self.reserved - BLOCK // 2:
                self.reserved += BLOCK
            return taken


def new_store_id() -> str:
    """Return a fresh id for a store, 32 hexadecimal digits."""
    return uuid.uuid4().hex


def new_worker_id() -> int:
    """Return a random id for a worker process: positive, 53 bits, so that every JSON reader keeps it exact."""
    return secrets.randbits(53) | 1


def place_random(run_id: int, created_at: int, place: str) -> random.Random:
    """Return a generator that depends on nothing but the run and the place of the call: the same on replay."""
    seed = blake2b(f"{run_id}:{created_at}:{place}".encode(), digest_size=16).digest()
    return random.Random(int.from_bytes(seed, "big"))


def place_uuid(run_id: int, created_at: int, place: str) -> uuid.UUID:
    """Return a version-4 UUID that depends on nothing but the run and the place of the call."""
    seed = blake2b(f"u:{run_id}:{created_at}:{place}".encode(), digest_size=16).digest()
    return uuid.UUID(bytes=seed, version=4)
