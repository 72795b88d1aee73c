"""One text for equal values, and the hashes made of it: a call is found again by them, after a crash, in any process.

Sets and dicts are put in order, moments are written in UTC. What these functions return is stored for as long as runs
are: a golden file in the tests holds them to it.
"""

from __future__ import annotations

import base64
import datetime as dt
import operator
import sys
import typing
from collections.abc import Callable
from hashlib import blake2b
from typing import Any

import msgspec

from fanfold.model import shapes

_number = int.from_bytes  # big-endian
_first: Callable[[tuple[str, Any]], str] = operator.itemgetter(0)


def digest(name: bytes, canonical_input: bytes) -> int:
    """Return a hash of a task's name and canonical input: positive, below 2**63, so that every database keeps it."""
    return _number(blake2b(name + b"\0" + canonical_input, digest_size=8).digest()) >> 1


def content_key(name: bytes, canonical_input: bytes) -> str:
    """Return a hash of the same that no two inputs share: 128 bits in 22 letters, digits, `-` and `_`."""
    raw = blake2b(name + b"\0" + canonical_input, digest_size=16).digest()
    return base64.urlsafe_b64encode(raw)[:22].decode()


def canonical_bytes(value: Any) -> bytes:
    """Return the same bytes for equal values: sets and dicts are put in order."""
    try:
        return _canonical.encode(value)
    except TypeError:  # the encoder puts in order only keys that are text and members that can be compared
        return ordered_bytes(value)


def ordered_bytes(value: Any) -> bytes:
    """Return the same bytes for equal values, moments included, by a walk over all of it."""
    return _known.encode(_in_order(value))


def _in_order(value: Any) -> Any:
    """Return what encodes in order whatever it holds: by the texts of keys and members, which is slower."""
    if isinstance(value, set | frozenset):
        members = typing.cast("frozenset[Any]", value)
        return [msgspec.Raw(text) for text in sorted(ordered_bytes(member) for member in members)]
    if isinstance(value, dict):
        items = typing.cast("dict[Any, Any]", value).items()
        return dict(
            sorted(((_known.encode({_in_order(key): 0}).decode(), _in_order(item)) for key, item in items), key=_first)
        )
    if isinstance(value, list | tuple):
        return [_in_order(item) for item in typing.cast("tuple[Any, ...]", value)]
    if isinstance(value, dt.datetime):
        return _in_utc(value)
    parts = shapes.fields(value)
    if parts is None:
        return value
    if isinstance(value, msgspec.Struct):
        return [value.__struct_config__.tag, *map(_in_order, parts.values())]
    if shapes.is_model(value.__class__):
        return _model_in_order(value, parts)
    return [_in_order(part) for part in parts.values()]


def _in_utc(value: dt.datetime) -> dt.datetime:
    if value.tzinfo is None:
        return value
    try:
        return value.astimezone(dt.UTC)
    except OverflowError:  # within a day of the ends of the calendar
        return value


def _model_in_order(value: Any, parts: dict[str, Any]) -> Any:
    """Return what encodes in order for a pydantic model; by its fields, whose sets its own JSON would not sort."""
    try:
        return msgspec.Raw(ordered_bytes(parts))
    except Exception:  # noqa: BLE001 - a field of a type that only the model knows how to write
        return _in_order(value.model_dump(mode="json", by_alias=True, round_trip=True, warnings=False))


def _known_to_pydantic(value: Any) -> Any:
    """Return JSON for what stands in the fields of models only: addresses, paths, URLs."""
    core = sys.modules.get("pydantic_core")
    if core is None:
        raise TypeError(f"{type(value).__name__} cannot be stored")
    return core.to_jsonable_python(value)


_canonical = msgspec.json.Encoder(order="deterministic")
_known = msgspec.json.Encoder(enc_hook=_known_to_pydantic)
