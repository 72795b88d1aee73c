"""What differs between a value and what comes back of it, and what cannot be encoded: found after the fact, by path.

Encoding says only that something is wrong. These walks are slow and run on the way to an error message only, but for
`same`, which compares values of no declared type.
"""

from __future__ import annotations

import enum
import math
import re
import reprlib
import typing
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec

from fanfold.model import canonical, shapes

MAX_JSON_DEPTH = 128
# What JSON itself can say: it stands for what the annotation reads from it, `[1, 2]` for a set of numbers.
_NATIVE = (str, int, float, bool, type(None))
_LOST = object()
# A path as msgspec writes it, at the end of what it says.
_PATH = re.compile(r"at (?P<key>`key` in )?`(?P<path>\$[^`]*)`\Z")
_STEP = re.compile(r"\[\.\.\.\]|\[\d+\]|\.[^.\[]+")
_ANY_KEY = "[...]"

_repr = reprlib.Repr()
_repr.maxstring = _repr.maxother = 120


def shown(value: Any) -> str:
    """Return the beginning of a value's repr, whatever its repr does, as text that can be encoded."""
    try:
        text = _repr.repr(value)
    except Exception as error:  # noqa: BLE001 - user code
        return f"<{type(value).__name__} whose repr raises {type(error).__name__}>"
    return text.replace("\0", "\\x00").encode("utf-8", "backslashreplace").decode()


def same(left: Any, right: Any) -> bool:
    """Tell whether two values are equal with equal types, all the way down."""
    kind = left.__class__
    if type(left) is not type(right):
        return False
    if issubclass(kind, _NATIVE):
        return bool(left == right)
    if issubclass(kind, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if issubclass(kind, list | tuple):
        return len(left) == len(right) and all(map(same, left, right))
    parts = shapes.fields(left)
    if parts is not None and not shapes.is_model(kind):
        return same(parts, shapes.fields(right))
    return bool(left == right)


class Difference(NamedTuple):
    """Where something comes back different, what it was and what it would be."""

    path: str
    given: Any
    back: Any

    def __str__(self) -> str:
        """Say it in a sentence, with what to do."""
        if self.back is _LOST:
            return f"{self.path} would be lost: nothing in the annotation takes it"
        return f"{shown(self.given)} would come back as {shown(self.back)}{_at(self.path)}; {self._advice()}"

    def _advice(self) -> str:
        if isinstance(self.given, float) and not math.isfinite(self.given):
            return NOT_FINITE
        return f"annotate the type, so that it is {type(self.given).__name__} again, or pass what JSON can say"


NOT_FINITE = "JSON has neither NaN nor infinity: pass None or a text in their place"


def _at(path: str) -> str:
    return f" - at `{path}`" if path.strip("$") else ""


def difference(given: Any, back: Any, path: str = "$", *, is_strict: bool = False) -> Difference | None:
    """Return where `back` is not what `given` was; None if it only is what the annotation makes of plain JSON.

    `is_strict`: there is no annotation, and types must be equal as well.
    """
    parts = shapes.fields(given)
    if is_strict and type(given) is not type(back):
        return Difference(path, given, back)
    if parts is not None:
        return _of_records(given, parts, back, path, is_strict)
    if isinstance(given, dict):
        return _of_dicts(typing.cast("dict[Any, Any]", given), back, path, is_strict)
    if isinstance(given, list | tuple):
        return _of_lists(typing.cast("list[Any]", given), back, path, is_strict)
    if isinstance(given, set | frozenset):
        return _of_sets(typing.cast("set[Any]", given), back, path)
    return None if _stands_for(given, back) else Difference(path, given, back)


def _of_records(given: Any, parts: dict[str, Any], back: Any, path: str, is_strict: bool) -> Difference | None:  # noqa: FBT001 - passed on
    others = shapes.fields(back)
    if type(given) is not type(back) or others is None:
        return Difference(path, given, back)
    if given == back and not is_strict:
        return None
    found = _first(
        difference(part, others.get(name, _LOST), f"{path}.{name}", is_strict=is_strict) for name, part in parts.items()
    )
    if found is None and shapes.is_model(given.__class__) and given != back:
        return Difference(f"{path} (its private attributes)", given, back)
    return found


def _of_dicts(given: dict[Any, Any], back: Any, path: str, is_strict: bool) -> Difference | None:  # noqa: FBT001
    if not isinstance(back, dict):
        return _of_dict_for_record(given, back, path)
    decoded = typing.cast("dict[Any, Any]", back)
    if len(given) > len(decoded):
        key = next((key for key in given if key not in decoded), None)
        return Difference(f"{path}[{shown(key)}]", key, _LOST)
    pairs = list(zip(given.items(), decoded.items(), strict=True))  # the decoder keeps the order
    for (key, _), (other, _) in pairs:
        if key != other and (is_strict or type(key) is not str):
            return Difference(f"{path}[{shown(key)}], a key", key, other)
    return _first(
        difference(item, other, f"{path}[{shown(key)}]", is_strict=is_strict) for (key, item), (_, other) in pairs
    )


def _of_dict_for_record(given: dict[Any, Any], back: Any, path: str) -> Difference | None:
    parts = shapes.fields(back)
    if parts is None:
        return Difference(path, given, back)
    if shapes.is_model(back.__class__):
        return None  # by its own rules: aliases, validators, and whether more keys than it has are an error
    tag_field = None
    if isinstance(back, msgspec.Struct):
        parts = {field.encode_name: parts[field.name] for field in msgspec.structs.fields(back)}
        tag_field = back.__struct_config__.tag_field
    lost = next((key for key in given if key not in parts and key != tag_field), None)
    if lost is not None:
        return Difference(f"{path}[{shown(lost)}]", given[lost], _LOST)
    return _first(difference(item, parts[key], f"{path}.{key}") for key, item in given.items() if key in parts)


def _of_lists(given: list[Any], back: Any, path: str, is_strict: bool) -> Difference | None:  # noqa: FBT001
    if isinstance(back, list | tuple):
        pairs = zip(given, typing.cast("list[Any]", back), strict=False)  # a named tuple has got its defaults
        return _first(
            difference(item, other, f"{path}[{index}]", is_strict=is_strict)
            for index, (item, other) in enumerate(pairs)
        )
    if isinstance(back, set | frozenset):
        return _of_sets(given, typing.cast("set[Any]", back), path)
    return None if shapes.fields(back) is not None else Difference(path, given, back)


def _of_sets(given: set[Any] | list[Any], back: Any, path: str) -> Difference | None:
    """Compare members, which have no order: equal, or plain JSON, or of equal texts."""
    if not isinstance(back, set | frozenset):
        return Difference(path, given, back)
    others = typing.cast("set[Any]", back)
    as_texts = any(isinstance(member, bytes | bytearray) for member in others)
    rest = [
        member for member in given
        if (type(member) not in (*_NATIVE, list, dict) or (as_texts and type(member) is str)) and member not in others
    ]  # fmt: skip
    if not rest or canonical.ordered_bytes(set(given)) == canonical.ordered_bytes(others):
        return None
    return Difference(f"{path}[...]", rest[0], next(iter(others - set(given)), None))


def _stands_for(given: Any, back: Any) -> bool:
    if given == back:
        return True
    if type(given) is type(back):
        return isinstance(given, Decimal) and given.is_nan() and back.is_nan()
    if type(given) is str:
        # For bytes the decoder takes text as base64; no text that a user passes is meant to be.
        return not isinstance(back, bytes | bytearray | memoryview)
    return type(given) is int and isinstance(back, enum.Enum)


def _first(found: Iterator[Difference | None]) -> Difference | None:
    return next((one for one in found if one is not None), None)


def fault(value: Any, encode: Callable[[Any], bytes], path: str = "$") -> str | None:
    """Return what in `value` cannot be encoded, with its path and what to do; None if all of it can."""
    return _fault(value, encode, path, [])


def _fault(value: Any, encode: Callable[[Any], bytes], path: str, above: list[int]) -> str | None:
    try:
        encode(value)
    except Exception as error:  # noqa: BLE001 - whatever the encoder, or a user's serializer, raises
        reason = error
    else:
        return None
    if id(value) in above:
        return f"{path[:80]} contains itself; JSON is a tree: pass ids in place of references"
    if len(above) > MAX_JSON_DEPTH:
        return f"{path[:80]}... is nested more than {MAX_JSON_DEPTH} deep; flatten it, or pass a path"
    for key in typing.cast("dict[Any, Any]", value) if type(value) is dict else ():
        if (refused := _fault_of_key(key, encode)) is not None:
            return f"the key {shown(key)}{_at(path)}: {refused}"
    here = id(typing.cast("object", value))
    for part, where in _parts(value, path):
        found = _fault(part, encode, where, [*above, here])
        if found is not None:
            return found
    return f"{shown(value)}{_at(path)}: {told(reason)}"


def _fault_of_key(key: Any, encode: Callable[[Any], bytes]) -> str | None:
    try:
        encode({key: None})
    except UnicodeEncodeError as error:
        return told(error)
    except Exception:  # noqa: BLE001 - as above
        return "keys of a dict are texts in JSON: use texts, numbers, dates, UUIDs or enums, or a list of pairs"
    return None


def told(error: Exception) -> str:
    """Return what an error says, with what to do where it does not say so."""
    if isinstance(error, UnicodeEncodeError):
        return "half of a surrogate pair cannot be stored; pass bytes: text.encode('utf-8', 'surrogateescape')"
    if isinstance(error, msgspec.MsgspecError | TypeError | ValueError):
        return str(error)
    return f"{type(error).__name__}: {error}"  # of user code: many say little without their name


def _parts(value: Any, path: str) -> Iterator[tuple[Any, str]]:
    """Yield what stands in a value, with its path; keys of dicts left out."""
    parts = shapes.fields(value)
    if parts is not None:
        yield from ((part, f"{path}.{name}") for name, part in parts.items())
    elif isinstance(value, dict):
        yield from ((item, f"{path}[{shown(key)}]") for key, item in typing.cast("dict[Any, Any]", value).items())
    elif isinstance(value, list | tuple):
        yield from ((item, f"{path}[{index}]") for index, item in enumerate(typing.cast("list[Any]", value)))
    elif isinstance(value, set | frozenset):
        yield from ((item, f"{path}[...]") for item in typing.cast("set[Any]", value))


def too_deep(value: Any, most: int, path: str = "$") -> str | None:
    """Return where in `value` something is nested more than `most` deep, or None."""
    left = [(value, path, 0)]
    while left:
        part, where, above = left.pop()
        if above >= most and (
            isinstance(part, dict | list | tuple | set | frozenset) or shapes.fields(part) is not None
        ):
            return where
        left.extend((inner, at, above + 1) for inner, at in _parts(part, where))
    return None


def with_keys(
    error: Exception, value: Any, encode: Callable[[Any], bytes], decode: Callable[[bytes], Any]
) -> Exception:
    """Return what decoding a value's text said, with the keys of dicts in its path in place of `[...]`."""
    found = _PATH.search(str(error)) if isinstance(error, msgspec.ValidationError) else None
    if found is None or not (found["key"] or _ANY_KEY in found["path"]):
        return error
    steps = _STEP.findall(found["path"]) + [_ANY_KEY] * bool(found["key"])
    try:
        named = _named(steps, msgspec.json.decode(encode(value)), str(error), decode)
    except Exception:  # noqa: BLE001 - a validator's own words may look like a path
        return error
    at = f"the key {named[-1][1:-1]} of `${''.join(named[:-1])}`" if found["key"] else f"`${''.join(named)}`"
    return msgspec.ValidationError(f"{str(error)[: found.start()]}at {at}")


def _named(steps: list[str], plain: Any, text: str, decode: Callable[[bytes], Any]) -> list[str]:
    """Return the steps of a path with the keys in place of `[...]`; LookupError if decoding says another text."""
    tree: list[Any] = [plain]  # so that whatever is looked at stands in something
    within: Any = tree
    place: Any = 0
    named: list[str] = []
    for step in steps:
        within = within[place]
        if step == _ANY_KEY:
            place = _key_of_fault(within, text, lambda: decode(shapes.plain.encode(tree[0])))
        else:
            place = int(step[1:-1]) if step.startswith("[") else step[1:]
        named.append(f"[{shown(place)}]" if step == _ANY_KEY else step)
    return named


def _key_of_fault(items: dict[str, Any], text: str, decode: Callable[[], Any]) -> str:
    """Return the first key of `items` at which decoding what holds them says `text`; only that one is left in it."""
    pairs = list(items.items())
    fewest, most = 0, len(pairs)  # so many of the first items are without fault, and so many are not
    while most - fewest > 1:
        middle = (fewest + most) // 2
        items.clear()
        items.update(pairs[:middle])
        if _says(decode, text):
            most = middle
        else:
            fewest = middle
    items.clear()
    items.update(pairs[fewest:most])
    if not _says(decode, text):
        raise LookupError(text)
    return pairs[fewest][0]


def _says(decode: Callable[[], Any], text: str) -> bool:
    try:
        decode()
    except Exception as error:  # noqa: BLE001 - as above
        return str(error) == text
    return False


def not_finite(value: Any, path: str = "$") -> str | None:
    """Return where in `value` a NaN or an infinity stands, or None."""
    if isinstance(value, float):
        return None if math.isfinite(value) else f"{value}{_at(path)}: {NOT_FINITE}"
    return _first_text(not_finite(part, where) for part, where in _parts(value, path))


def _first_text(found: Iterator[str | None]) -> str | None:
    return next((one for one in found if one is not None), None)
