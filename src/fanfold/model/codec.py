"""Values to JSON text and back, by annotation. Never pickle.

A caller always gets decode(encode(value)), also inside one process, so that what a program sees does not depend on
whether it was restarted. What would come back different is refused where it goes in, with the path of the field.
"""

from __future__ import annotations

import copy
import inspect
import re
import typing
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from fanfold.errors import FanfoldError, InvalidInput, PayloadTooLarge
from fanfold.model.canonical import canonical_bytes, content_key, digest, ordered_bytes
from fanfold.model.differences import MAX_JSON_DEPTH, difference, fault, not_finite, same, told, too_deep, with_keys
from fanfold.model.shapes import RESOLVE, Shape, decode_hook, encode_hook

SMALL = 2 * MAX_JSON_DEPTH  # bytes: what is shorter cannot be nested too deep
_STRINGS = re.compile(rb'"(?:[^"\\]|\\.)*"')
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_ONE_KIND = bytes.maketrans(b"{}", b"[]")

_encode = msgspec.json.Encoder(enc_hook=encode_hook).encode
_plain = msgspec.json.Encoder()
_FIXED = (int, float, str, bool, bytes, type(None))


def encode_text(value: Any) -> str:
    """Return `value` as JSON text; for values of our own, which always encode."""
    return _plain.encode(value).decode()


def decode_text(text: str) -> Any:
    """Return the plain JSON value of a text of our own."""
    return msgspec.json.decode(text)


class Bounds:
    """How long, and how deeply nested, the texts of one annotation or signature may be."""

    def __init__(self, what: str, max_bytes: int, max_depth: int | None) -> None:
        """`max_depth` is None where the types bound it."""
        self._what = what
        self._max_bytes = max_bytes
        self._max_depth = max_depth
        # What is shorter needs no look.
        self.unchecked = max_bytes if max_depth is None else min(SMALL, max_bytes)

    def check(self, data: bytes, value: Any) -> None:
        """Raise PayloadTooLarge if the text of `value` is too long, InvalidInput if it is nested too deep."""
        if len(data) > self._max_bytes:
            raise PayloadTooLarge(
                f"{self._what} takes {len(data):,} bytes, the limit is {self._max_bytes:,} (App(max_payload=)). "
                "Pass a path, a key or a range, and let the child load the data."
            )
        most = self._max_depth
        if most is None or data.count(b"[") + data.count(b"{") <= most:
            return
        brackets = _STRINGS.sub(b"", data).translate(_ONE_KIND, _NO_BRACKETS)
        for _ in range(most):  # each round takes away the innermost level
            brackets = brackets.replace(b"[]", b"")
        if brackets:
            where = too_deep(value, most)
            at = "" if where is None else f" - at `{where[:80]}...`"
            advice = "flatten it, or pass a path"
            raise InvalidInput(f"{self._what} is nested more than {MAX_JSON_DEPTH} deep; {advice}{at}")


class ValueCodec:
    """Encodes and decodes the values of one annotation (`Any` where there is none)."""

    def __init__(self, annotation: Any, what: str, max_bytes: int) -> None:
        """InvalidInput, beginning with `what`, for an annotation whose values cannot be stored."""
        self._what = what
        shape = Shape(annotation, what)
        self._is_loose = shape.is_loose
        self._bounds = Bounds(what, max_bytes, MAX_JSON_DEPTH if shape.is_deep else None)
        self._unchecked = self._bounds.unchecked
        self._decoder = msgspec.json.Decoder(annotation, dec_hook=decode_hook)

    def encode(self, value: Any) -> tuple[str, Any]:
        """Return the text of `value` and what a reader of that text will get.

        Raises InvalidInput where the two would differ or `value` is not of the annotation, PayloadTooLarge.
        """
        try:
            data = _encode(value)
            if len(data) > self._unchecked:
                self._bounds.check(data, value)
            decoded = self._decoder.decode(data)
            if (self._is_loose or decoded != value) and not same(decoded, value):
                refuse_difference(value, decoded, self._what, is_strict=self._is_loose)
        except FanfoldError:
            raise
        except Exception as error:  # noqa: BLE001 - validators, serializers and comparisons are user code
            told_of = with_keys(error, value, _encode, self._decoder.decode)
            raise InvalidInput(f"{self._what}: {reason(value, told_of)}") from None
        return data.decode(), decoded

    def decode(self, text: str) -> Any:
        """Return the value of a text that `encode` made; InvalidInput if the annotation has changed since."""
        try:
            return self._decoder.decode(text)
        except Exception as error:  # noqa: BLE001 - as above
            raise InvalidInput(f"{self._what}: {error}") from None


def refuse_difference(given: Any, back: Any, what: str, *, is_strict: bool, path: str = "$") -> None:
    """Raise InvalidInput where `back` is not what `given` was, and not what the annotation makes of plain JSON."""
    found = difference(given, back, path, is_strict=is_strict)
    if found is not None:
        raise InvalidInput(f"{what}: {found}")


def reason(value: Any, error: Exception, path: str = "$") -> str:
    """Say what is wrong with a value that cannot be encoded, or not decoded again: where, and what to do."""
    found = fault(value, _encode, path)
    if found is None and str(error).startswith("Expected") and "got `null`" in str(error):
        found = not_finite(value, path)
    return found or told(error)


class Signature:
    """Binds the arguments of one function and turns them into text, through a Struct made from its signature once."""

    def __init__(self, function: Callable[..., Any], name: str, max_bytes: int) -> None:
        """InvalidInput, naming the parameter, for types and defaults that cannot be stored."""
        self._name = name
        self._name_bytes = name.encode()
        self._signature = inspect.signature(function)
        hints = _hints(function, name)
        self._parameters = list(self._signature.parameters.values())
        kinds = {parameter.kind for parameter in self._parameters}
        self._direct = kinds <= {inspect.Parameter.POSITIONAL_OR_KEYWORD}
        annotations = {p.name: _annotation(p, hints.get(p.name, Any)) for p in self._parameters}
        shapes = {key: Shape(hint, f"{name}: parameter `{key}`") for key, hint in annotations.items()}
        for parameter in self._parameters:
            if parameter.default is not parameter.empty:
                codec = ValueCodec(annotations[parameter.name], f"{name}: the default of `{parameter.name}`", max_bytes)
                codec.encode(parameter.default)
        fields = [(p.name, annotations[p.name], *_default(p)) for p in self._parameters]
        self._struct = _input_struct(name, fields, kw_only=not self._direct)
        self._decoder = msgspec.json.Decoder(self._struct, dec_hook=decode_hook)
        self._loose = [key for key, shape in shapes.items() if shape.is_loose]
        # Equal values of these types have equal texts already.
        self._is_plain = not any(shape.is_unordered or shape.has_moments for shape in shapes.values())
        has_moments = any(shape.has_moments for shape in shapes.values())
        self._canonical = ordered_bytes if has_moments else canonical_bytes
        is_deep = any(shape.is_deep for shape in shapes.values())
        # An argument stands within the object of all arguments.
        self._bounds = Bounds(f"the input of {name}", max_bytes, MAX_JSON_DEPTH + 1 if is_deep else None)
        self._unchecked = self._bounds.unchecked
        self.required = sum(
            (p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD) or p.kind is p.POSITIONAL_ONLY
            for p in self._parameters
        )
        self.result = ValueCodec(_resolved(hints.get("return", Any)), f"the result of {name}", max_bytes)

    def encode(self, arguments: tuple[Any, ...], keywords: Mapping[str, Any]) -> tuple[str, int]:
        """Return the input's text and digest; InvalidInput names the field, PayloadTooLarge the limit."""
        try:
            if self._direct:
                bound = self._struct(*arguments, **keywords)
            else:
                named = self._signature.bind(*arguments, **keywords)
                named.apply_defaults()
                bound = self._struct(**named.arguments)
        except TypeError as error:
            raise InvalidInput(f"{self._name}{_shown(self._signature)}: {error}") from None
        try:
            data = _encode(bound)
            if len(data) > self._unchecked:
                self._bounds.check(data, bound)
            decoded = self._decoder.decode(data)
            is_equal = decoded == bound
            if self._loose or not is_equal:
                self._compare(bound, decoded)
            canonical = data if self._is_plain and is_equal else self._canonical(decoded)
        except FanfoldError:
            raise
        except Exception as error:  # noqa: BLE001 - validators, serializers and comparisons are user code
            told_of = with_keys(error, bound, _encode, self._decoder.decode)
            raise InvalidInput(f"{self._name}: {self._locate(bound, told_of)}") from None
        return data.decode(), digest(self._name_bytes, canonical)

    def encode_content(self, arguments: tuple[Any, ...], keywords: Mapping[str, Any]) -> tuple[str, int, str]:
        """Return what `encode` does, and the key by which a task finds the child that it made of this input."""
        text, hashed = self.encode(arguments, keywords)
        return text, hashed, content_key(self._name_bytes, self._canonical(self._decoder.decode(text)))

    def _locate(self, bound: msgspec.Struct, error: Exception) -> str:
        """Say which argument cannot be encoded, or not decoded again, and where in it."""
        key = self._culprit(bound, error)
        return told(error) if key is None else f"argument `{key}`: {reason(getattr(bound, key), error, f'$.{key}')}"

    def _culprit(self, bound: msgspec.Struct, error: Exception) -> str | None:
        path = re.search(r"at `\$\.(\w+)", str(error)) if isinstance(error, msgspec.ValidationError) else None
        if path is not None:
            return path[1]
        for field in msgspec.structs.fields(self._struct):
            try:
                text = _encode(getattr(bound, field.name))
                msgspec.json.decode(text, type=field.type, dec_hook=decode_hook)
            except Exception:  # noqa: BLE001 - as above
                return field.name
        return None

    def _compare(self, bound: msgspec.Struct, decoded: msgspec.Struct) -> None:
        """Raise InvalidInput where an argument would come back different."""
        for parameter in self._parameters:
            key = parameter.name
            given, back = getattr(bound, key), getattr(decoded, key)
            is_loose = key in self._loose
            if (is_loose or back != given) and not same(given, back):
                what = f"{self._name}: argument `{key}`"
                refuse_difference(given, back, what, is_strict=is_loose, path=f"$.{key}")

    def decode(self, text: str) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the positional and keyword arguments of an input text."""
        try:
            bound = self._decoder.decode(text)
        except Exception as error:  # noqa: BLE001 - as above
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


def _hints(function: Callable[..., Any], name: str) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function, include_extras=True)
    except NameError as error:
        raise InvalidInput(f"{name}: in its annotations, {error}; {RESOLVE}") from None


def _input_struct(name: str, fields: list[tuple[Any, ...]], *, kw_only: bool) -> type[msgspec.Struct]:
    try:
        return msgspec.defstruct(f"{name}_input", fields, kw_only=kw_only)
    except Exception as error:  # noqa: BLE001 - a parameter that is called like a part of the Struct itself
        raise InvalidInput(f"{name}: {error}; give its parameters names without two underscores in front") from None


def _resolved(annotation: Any) -> Any:
    """Return the annotation, or the one that says the same of values."""
    if annotation in (typing.NoReturn, typing.Never):
        return Any
    return str if annotation is typing.LiteralString else annotation


def _annotation(parameter: inspect.Parameter, hint: Any) -> Any:
    annotation = _resolved(hint)
    if typing.get_origin(annotation) is typing.Unpack:  # `*args: *tuple[int, str]`, `**kwargs: Unpack[Options]`
        return typing.get_args(annotation)[0]
    if parameter.kind is parameter.VAR_POSITIONAL:
        return tuple[annotation, ...]
    if parameter.kind is parameter.VAR_KEYWORD:
        return dict[str, annotation]
    if parameter.default is None and annotation is not Any:
        return annotation | None  # `x: int = None` is sloppy, common, and means this
    return annotation


def _default(parameter: inspect.Parameter) -> tuple[Any, ...]:
    default = parameter.default
    if default is parameter.empty:
        return ()  # of `*args` and `**kwargs` too: those are always bound
    if type(default) in _FIXED:
        return (default,)
    return (msgspec.field(default_factory=lambda: copy.deepcopy(default)),)


def _shown(signature: inspect.Signature) -> str:
    try:
        return str(signature)
    except Exception:  # noqa: BLE001 - the repr of a default is user code
        return "(...)"
