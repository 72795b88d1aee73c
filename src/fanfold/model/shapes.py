"""What is known about types: which can be stored, and what has to be looked at by hand in their values.

An annotation is judged once, at decoration: a type that no reader could make again is refused there, by the name of
the parameter. Models of pydantic are known by what they carry; pydantic itself is never imported.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterable, Iterator
from pathlib import PurePath
from typing import Any

import msgspec
from msgspec import inspect as types

from fanfold.errors import InvalidInput

KNOWN = (
    "dataclasses, named tuples, TypedDicts, attrs classes, msgspec Structs, pydantic models, enums of texts or whole "
    "numbers, datetime, date, time, timedelta, UUID, Decimal, bytes, and list, tuple, set, dict, unions of them"
)
# Sets iterate by hash seed, dicts by insertion, 1 and 1.0 or two time zones are equal: unequal bytes all.
_UNORDERED = (
    types.FloatType,
    types.DecimalType,
    types.SetType,
    types.FrozenSetType,
    types.DictType,
    types.TypedDictType,
)
_KEYS = (
    types.AnyType, types.StrType, types.IntType, types.FloatType, types.BytesType, types.EnumType, types.LiteralType,
    types.DateTimeType, types.DateType, types.TimeType, types.TimeDeltaType, types.UUIDType, types.DecimalType,
)  # fmt: skip

plain = msgspec.json.Encoder()


def is_model(kind: type[Any]) -> bool:
    """Tell whether a class is a model of pydantic."""
    return hasattr(kind, "__pydantic_core_schema__") and hasattr(kind, "model_validate_json")


def encode_hook(value: Any) -> Any:
    """Return what msgspec writes for a value that it does not know."""
    kind = value.__class__
    if is_model(kind):
        return msgspec.Raw(value.model_dump_json(by_alias=True, round_trip=True, warnings=False).encode())
    raise TypeError(f"{kind.__qualname__} cannot be stored; {advice(kind)}")


def decode_hook(kind: type[Any], value: Any) -> Any:
    """Return a value of a type that msgspec does not know, made from JSON."""
    if not is_model(kind):
        return value  # `object`: whatever it is
    try:
        # As JSON again: a strict model takes a moment or a set from JSON only.
        return typing.cast("Any", kind).model_validate_json(plain.encode(value))
    except ValueError as error:
        raise ValueError(_reasons(error)) from None


def _reasons(error: Any) -> str:
    """Return in one line what pydantic says in many."""
    if not hasattr(error, "errors"):
        return str(error)
    found = [f"`{'.'.join(map(str, one['loc'])) or '$'}`: {one['msg']}" for one in error.errors()[:5]]
    return f"{error.title}: " + ", ".join(found)


def advice(kind: type[Any]) -> str:
    """Say what to use in place of a type that cannot be stored."""
    if issubclass(kind, PurePath):
        return "pass the path as a str"
    if hasattr(kind, "parse_raw"):
        return "make it a model of pydantic 2"
    if hasattr(kind, "__await__"):
        return "await it first"
    if hasattr(kind, "__next__") or issubclass(kind, range):
        return "make a list of it"
    if issubclass(kind, str | int | float | bytes | list | dict | set | tuple) and kind.__module__ != "builtins":
        return f"use the plain {next(base for base in kind.__mro__[1:] if base.__module__ == 'builtins').__name__}"
    return "make it a dataclass (or another type that is listed in the documentation), or pass its data, path or key"


def fields(value: Any) -> dict[str, Any] | None:
    """Return the fields of a dataclass, attrs object, Struct or pydantic model by name; None for anything else."""
    kind = value.__class__
    if issubclass(kind, msgspec.Struct):
        names: Iterable[str] = kind.__struct_fields__
    elif hasattr(kind, "__dataclass_fields__"):
        names = [field.name for field in dataclasses.fields(kind)]
    elif hasattr(kind, "__attrs_attrs__"):
        names = [field.name for field in kind.__attrs_attrs__]
    elif is_model(kind):
        names = [*kind.model_fields, *(value.__pydantic_extra__ or ())]
    else:
        return None
    return {name: getattr(value, name) for name in names}


class Shape:
    """What must be checked by hand for values of one annotation."""

    def __init__(self, annotation: Any, what: str) -> None:
        """InvalidInput, beginning with `what`, for an annotation whose values cannot be stored."""
        try:
            info = types.type_info(annotation)
            nodes = list(_nodes(info))
            msgspec.json.Decoder(annotation, dec_hook=decode_hook)
        except NameError as error:
            raise InvalidInput(f"{what}: {error}; {RESOLVE}") from None
        except Exception as error:  # noqa: BLE001 - metaclasses and class bodies are user code
            raise InvalidInput(f"{what}: {_refusal(error)}") from None
        for node, path in nodes:
            _check(node, f"{what}{f', in {path}' if path else ''}")
        kinds = [node for node, _ in nodes]
        has_models = any(isinstance(node, types.CustomType) and node.cls is not object for node in kinds)
        # Without a type the decoder guesses.
        self.is_loose = any(_is_any(node) for node in kinds)
        self.has_moments = has_models or any(isinstance(node, types.DateTimeType) for node in kinds)
        self.is_unordered = self.is_loose or has_models or any(isinstance(node, _UNORDERED) for node in kinds)
        # Nothing bounds how deep the values are nested.
        self.is_deep = self.is_loose or has_models or _recurs(info, set(), set())


RESOLVE = "define it above the function, and import it at run time too (not only under TYPE_CHECKING)"


def _refusal(error: Exception) -> str:
    text = str(error)
    if "unions" in text:
        text += ". Put the cases into one msgspec.Struct union with tags, or into a field each of one dataclass"
    return text


def _children(node: Any) -> Iterator[tuple[str, Any]]:
    """Yield the parts of a type's description, with the names of the fields that they stand in."""
    for name in node.__struct_fields__:
        part = getattr(node, name)
        parts = typing.cast("tuple[Any, ...]", part) if isinstance(part, tuple) else (part,)
        for one in parts:
            if isinstance(one, types.Field):
                yield f"{_name(node.cls)}.{one.name}", one.type
            elif isinstance(one, types.Type):
                yield "", one


def _nodes(info: types.Type) -> Iterator[tuple[Any, str]]:
    """Yield every node of a type's description with the field that it stands in, each once (types may recur)."""
    seen: set[int] = set()
    left = [(info, "")]
    while left:
        node, path = left.pop()
        if id(node) not in seen:
            seen.add(id(node))
            yield node, path
            left.extend((child, name or path) for name, child in _children(node))


def _recurs(node: Any, above: set[int], bounded: set[int]) -> bool:
    """Tell whether a type contains itself."""
    if id(node) in bounded:
        return False
    if id(node) in above:
        return True
    above.add(id(node))
    found = any(_recurs(child, above, bounded) for _, child in _children(node))
    above.discard(id(node))
    bounded.add(id(node))
    return found


def _is_any(node: Any) -> bool:
    return isinstance(node, types.AnyType) or (isinstance(node, types.CustomType) and node.cls is object)


def _check(node: Any, where: str) -> None:
    """Raise InvalidInput for a type that no reader could make again."""
    if isinstance(node, types.CustomType):
        kind = node.cls
        if kind is not object and not is_model(kind):
            raise InvalidInput(f"{where}: {_name(kind)} cannot be stored: {advice(kind)}. What can be: {KNOWN}")
    elif isinstance(node, types.DictType):
        keys = node.key_type.types if isinstance(node.key_type, types.UnionType) else (node.key_type,)
        for key in keys:
            if not isinstance(key, _KEYS):
                raise InvalidInput(
                    f"{where}: keys of a dict are texts in JSON, and {_key_name(key)} is none. Use keys that are "
                    "texts, numbers, dates, UUIDs or enums of texts, or a list of pairs"
                )
    elif isinstance(node, types.DataclassType) and hasattr(node.cls, "__attrs_attrs__"):
        private = [field.name for field in node.fields if field.name.startswith("_")]
        if private:
            raise InvalidInput(
                f"{where}: the field {private[0]} of {_name(node.cls)} would be lost: private fields of attrs classes "
                "are not stored. Give it a name without underscore, or use a dataclass"
            )


def _name(kind: type[Any]) -> str:
    name = getattr(kind, "__qualname__", str(kind))  # a generic class with its arguments has no name of its own
    return name if kind.__module__ == "builtins" else f"{kind.__module__}.{name}"


def _key_name(key: Any) -> str:
    return _name(key.cls) if hasattr(key, "cls") else str(key.__class__.__name__).removesuffix("Type").lower()
