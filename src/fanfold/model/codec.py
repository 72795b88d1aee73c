"""Values to JSON text and back, by annotation; the digest of an input. Never pickle.

A caller always gets decode(encode(value)), also inside one process, so that what a program sees does not depend on
whether it was restarted. What would come back different is refused where it goes in, with the path of the field.
"""

from __future__ import annotations

import copy
import dataclasses
import datetime as dt
import inspect
import operator
import re
import typing
from collections.abc import Callable, Iterator, Mapping
from hashlib import blake2b
from typing import Any

import msgspec

from fanfold.errors import InvalidInput, PayloadTooLarge

MAX_JSON_DEPTH = 128
SMALL = 2 * MAX_JSON_DEPTH  # bytes: what is shorter cannot be nested too deep
_TOKENS = re.compile(rb'"(?:[^"\\]|\\.)*"|[][{}]')
_STEPS = {b"[": 1, b"{": 1, b"]": -1, b"}": -1}

_plain = msgspec.json.Encoder()
_canonical = msgspec.json.Encoder(order="deterministic")
_first: Callable[[tuple[str, Any]], str] = operator.itemgetter(0)
_ORDERED = (int, float, str, bool, bytes, type(None))


def encode_text(value: Any) -> str:
    """Return `value` as JSON text; for values of our own, which always encode."""
    return _plain.encode(value).decode()


def decode_text(text: str) -> Any:
    """Return the plain JSON value of a text of our own."""
    return msgspec.json.decode(text)


def digest(name: bytes, canonical_input: bytes) -> int:
    """Return a hash of a task's name and canonical input: positive, below 2**63, so that every database keeps it."""
    raw = blake2b(name + b"\0" + canonical_input, digest_size=8).digest()
    return int.from_bytes(raw, "big") >> 1


def canonical_bytes(value: Any) -> bytes:
    """Return the same bytes for equal values: sets and dicts are put in order."""
    try:
        return _canonical.encode(value)
    except TypeError:  # the encoder puts in order only keys that are text and members that can be compared
        return _plain.encode(_in_order(value))


def _in_order(value: Any) -> Any:
    """Return what encodes in order whatever it holds: by the texts of keys and members, which is slower."""
    if isinstance(value, set | frozenset):
        members = typing.cast("frozenset[Any]", value)
        return [msgspec.Raw(text) for text in sorted(_plain.encode(_in_order(member)) for member in members)]
    if isinstance(value, dict):
        items = typing.cast("dict[Any, Any]", value).items()
        return dict(sorted(((_plain.encode({key: 0}).decode(), _in_order(item)) for key, item in items), key=_first))
    if isinstance(value, list | tuple):
        return [_in_order(item) for item in typing.cast("tuple[Any, ...]", value)]
    if isinstance(value, dt.datetime):
        return value if value.tzinfo is None else value.astimezone(dt.UTC)
    if isinstance(value, msgspec.Struct):
        return [value.__struct_config__.tag, *(_in_order(getattr(value, key)) for key in value.__struct_fields__)]
    if dataclasses.is_dataclass(value):
        return [_in_order(getattr(value, field.name)) for field in dataclasses.fields(value)]
    return value


def same(left: Any, right: Any) -> bool:
    """Tell whether two values are equal with equal types, all the way down."""
    if type(left) is not type(right):
        return False
    # issubclass leaves the type of `left` alone: what Any holds here may hold Any.
    if issubclass(type(left), dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if issubclass(type(left), list | tuple):
        return len(left) == len(right) and all(map(same, left, right))
    return bool(left == right)


def _leaves(info: Any) -> Iterator[Any]:
    """Yield every node of a type's description, each once (types may contain themselves)."""
    seen: set[int] = set()
    open_nodes = [info]
    while open_nodes:
        node = open_nodes.pop()
        if isinstance(node, list | tuple):
            open_nodes.extend(typing.cast("list[Any]", node))
        elif isinstance(node, msgspec.inspect.Type | msgspec.inspect.Field) and id(node) not in seen:
            seen.add(id(node))
            yield node
            open_nodes.extend(getattr(node, name) for name in node.__struct_fields__)


class Shape:
    """What must be checked by hand for values of one annotation."""

    def __init__(self, annotation: Any) -> None:
        nodes = list(_leaves(msgspec.inspect.type_info(annotation)))
        # Without a type the decoder guesses; a NaN beside None comes back as None; the text of a moment keeps no
        # seconds of its offset.
        self.is_loose = any(isinstance(node, _LOOSE) or _is_optional_float(node) for node in nodes)
        self.has_moments = any(isinstance(node, msgspec.inspect.DateTimeType) for node in nodes)
        # Sets iterate by hash seed, dicts by insertion, 1 and 1.0 or two time zones are equal: unequal bytes all.
        self.is_unordered = self.is_loose or any(isinstance(node, _UNORDERED) for node in nodes)


_LOOSE = (msgspec.inspect.AnyType, msgspec.inspect.DateTimeType)
_UNORDERED = (
    msgspec.inspect.FloatType,
    msgspec.inspect.SetType,
    msgspec.inspect.FrozenSetType,
    msgspec.inspect.DictType,
    msgspec.inspect.TypedDictType,
)


def _is_optional_float(node: Any) -> bool:
    return (
        isinstance(node, msgspec.inspect.UnionType)
        and any(isinstance(kind, msgspec.inspect.FloatType) for kind in node.types)
        and any(isinstance(kind, msgspec.inspect.NoneType) for kind in node.types)
    )


class ValueCodec:
    """Encodes and decodes the values of one annotation (`Any` where there is none)."""

    def __init__(self, annotation: Any, what: str, max_bytes: int) -> None:
        self._annotation = annotation
        self._what = what
        self._max_bytes = max_bytes
        self._unchecked = min(SMALL, max_bytes)
        self._is_loose = Shape(annotation).is_loose
        self._decoder = msgspec.json.Decoder(annotation)

    def encode(self, value: Any) -> tuple[str, Any]:
        """Return the text of `value` and what a reader of that text will get.

        Raises InvalidInput where the two would differ or `value` is not of the annotation, PayloadTooLarge.
        """
        try:
            data = _plain.encode(value)
            if len(data) > self._unchecked:
                check_bounds(data, self._what, self._max_bytes)
            decoded = self._decoder.decode(data)
        except InvalidInput:
            raise
        except (msgspec.MsgspecError, TypeError, ValueError, RecursionError) as error:
            raise InvalidInput(f"{self._what}: {error}") from None
        if self._is_loose and not same(decoded, value):
            raise InvalidInput(f"{self._what}: {value!r:.200} would come back as {decoded!r:.200}; annotate the type")
        return data.decode(), decoded

    def decode(self, text: str) -> Any:
        """Return the value of a text that `encode` made; InvalidInput if the annotation has changed since."""
        try:
            return self._decoder.decode(text)
        except (msgspec.MsgspecError, RecursionError) as error:
            raise InvalidInput(f"{self._what}: {error}") from None


def check_bounds(data: bytes, what: str, max_bytes: int) -> None:
    """Raise PayloadTooLarge for a text that is too long, InvalidInput for one that is nested too deep."""
    if len(data) > max_bytes:
        raise PayloadTooLarge(too_large(what, len(data), max_bytes))
    if data.count(b"[") + data.count(b"{") <= MAX_JSON_DEPTH:
        return
    depth = 0
    for token in _TOKENS.finditer(data):
        depth += _STEPS.get(token[0], 0)
        if depth > MAX_JSON_DEPTH:
            raise InvalidInput(f"{what} is nested more than {MAX_JSON_DEPTH} deep; flatten it, or pass a path")


def too_large(what: str, size: int, limit: int) -> str:
    """Return the message of a PayloadTooLarge."""
    return (
        f"{what} takes {size:,} bytes, the limit is {limit:,} (App(max_payload=)). "
        "Pass a path, a key or a range, and let the child load the data."
    )


class Signature:
    """Binds the arguments of one function and turns them into text, through a Struct made from its signature once."""

    def __init__(self, function: Callable[..., Any], name: str, max_bytes: int) -> None:
        self._name = name
        self._name_bytes = name.encode()
        self._input = f"the input of {name}"
        self._unchecked = min(SMALL, max_bytes)
        self._max_bytes = max_bytes
        signature = inspect.signature(function)
        hints = typing.get_type_hints(function, include_extras=True)
        self._parameters = list(signature.parameters.values())
        self._signature = signature
        kinds = {parameter.kind for parameter in self._parameters}
        self._direct = kinds <= {inspect.Parameter.POSITIONAL_OR_KEYWORD}
        annotations = {p.name: _annotation(p, hints.get(p.name, Any)) for p in self._parameters}
        fields = [(p.name, annotations[p.name], *_default(p)) for p in self._parameters]
        self._struct = msgspec.defstruct(f"{name}_input", fields, kw_only=not self._direct)
        self._decoder = msgspec.json.Decoder(self._struct)
        shapes = {key: Shape(annotation) for key, annotation in annotations.items()}
        self._loose = [key for key, shape in shapes.items() if shape.is_loose]
        self._is_unordered = any(shape.is_unordered for shape in shapes.values())
        self._has_moments = any(shape.has_moments for shape in shapes.values())
        self.required = sum(
            (p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD) or p.kind is p.POSITIONAL_ONLY
            for p in self._parameters
        )
        self.result = ValueCodec(hints.get("return", Any), f"the result of {name}", max_bytes)

    def encode(self, arguments: tuple[Any, ...], keywords: Mapping[str, Any]) -> tuple[str, int]:
        """Return the input's text and digest; InvalidInput names the field, PayloadTooLarge the limit."""
        bound = self._bind(arguments, keywords)
        try:
            data = _plain.encode(bound)
            if len(data) > self._unchecked:
                check_bounds(data, self._input, self._max_bytes)
            decoded = self._decoder.decode(data)
        except InvalidInput:
            raise
        except (msgspec.MsgspecError, TypeError, ValueError, RecursionError) as error:
            raise InvalidInput(f"{self._name}: {self._locate(bound, error)}") from None
        if self._loose:
            self._compare(bound, decoded)
        canonical = data
        if self._has_moments:
            canonical = _plain.encode(_in_order(decoded))
        elif self._is_unordered:
            canonical = canonical_bytes(decoded)
        return data.decode(), digest(self._name_bytes, canonical)

    def _bind(self, arguments: tuple[Any, ...], keywords: Mapping[str, Any]) -> msgspec.Struct:
        try:
            if self._direct:
                return self._struct(*arguments, **keywords)
            bound = self._signature.bind(*arguments, **keywords)
            bound.apply_defaults()
            return self._struct(**bound.arguments)
        except TypeError as error:
            raise InvalidInput(f"{self._name}{self._signature}: {error}") from None

    def _locate(self, bound: msgspec.Struct, error: Exception) -> str:
        """Say which argument cannot be encoded; msgspec says so only when decoding."""
        if isinstance(error, msgspec.ValidationError):
            return str(error)
        for parameter in self._parameters:
            try:
                _plain.encode(getattr(bound, parameter.name))
            except (TypeError, ValueError, RecursionError) as cause:
                return f"argument `{parameter.name}`: {cause}"
        return str(error)

    def _compare(self, bound: msgspec.Struct, decoded: msgspec.Struct) -> None:
        for key in self._loose:
            given, back = getattr(bound, key), getattr(decoded, key)
            if not same(given, back):
                raise InvalidInput(
                    f"{self._name}: argument `{key}`: {given!r:.200} would come back as {back!r:.200}; "
                    "annotate its type"
                )

    def decode(self, text: str) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the positional and keyword arguments of an input text."""
        try:
            bound = self._decoder.decode(text)
        except (msgspec.MsgspecError, RecursionError) as error:
            raise InvalidInput(f"{self._name}: {error}") from None
        if self._direct:
            return msgspec.structs.astuple(bound), {}
        positional: list[Any] = []
        keywords: dict[str, Any] = {}
        for parameter in self._parameters:
            value = getattr(bound, parameter.name)
            if parameter.kind is parameter.VAR_POSITIONAL:
                positional.extend(value)
            elif parameter.kind is parameter.VAR_KEYWORD:
                keywords.update(value)
            elif parameter.kind is parameter.KEYWORD_ONLY:
                keywords[parameter.name] = value
            else:
                positional.append(value)
        return tuple(positional), keywords


def _annotation(parameter: inspect.Parameter, annotation: Any) -> Any:
    if parameter.kind is parameter.VAR_POSITIONAL:
        return tuple[annotation, ...]
    if parameter.kind is parameter.VAR_KEYWORD:
        return dict[str, annotation]
    if parameter.default is None and annotation is not Any:
        return annotation | None  # `x: int = None` is sloppy, common, and means this
    return annotation


def _default(parameter: inspect.Parameter) -> tuple[Any, ...]:
    if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD) or parameter.default is parameter.empty:
        return ()
    default = parameter.default
    if isinstance(default, _ORDERED):
        return (default,)
    return (msgspec.field(default_factory=lambda: copy.deepcopy(default)),)
