"""A type or a default that cannot come back is refused when the function is decorated, by the parameter's name."""

import collections.abc
import dataclasses
import datetime as dt
import enum
import pathlib
import typing
from typing import Any

import attrs
import pytest

from fanfold import App
from fanfold.errors import InvalidInput
from fanfold.model.codec import Signature, ValueCodec
from tests.model.test_payload_types import MANY, Box, Car, Part


class Strange:
    """What no codec knows."""


@dataclasses.dataclass
class Holder:
    fine: int
    strange: list[Strange]


@dataclasses.dataclass
class Initial:
    value: int
    start: dataclasses.InitVar[int] = 0


@attrs.define
class Private:
    name: str
    _secret: str = ""


class Name(str):
    __slots__ = ()


class Half(enum.Enum):
    A = 0.5


REFUSED: list[tuple[Any, str]] = [
    (Strange, "Strange cannot be stored: make it a dataclass"),
    (list[Strange | None], "Strange cannot be stored"),
    (Holder, r"in .*Holder\.strange: .*Strange cannot be stored"),
    (dict[str, tuple[Box[Strange], ...]], r"in .*Box.*Strange cannot be stored"),
    (pathlib.Path, "pathlib.Path cannot be stored: pass the path as a str"),
    (collections.abc.Iterator[int], "make a list of it"),
    (collections.abc.Awaitable[int], "await it first"),
    (range, "make a list of it"),
    (complex, "complex cannot be stored"),
    (Name, "use the plain str"),
    (Strange | int, "unions.* may not contain .* tags"),
    (Part | Car, "unions.* may not contain .* tags"),
    (str | dt.date, "unions.* may not contain .* tags"),
    (dict[tuple[int, int], int], "keys of a dict are texts in JSON, and tuple is none"),
    (dict[Part, int], "keys of a dict are texts in JSON, and .*Part is none"),
    (dict[bool, int], "keys of a dict"),
    (Half, "Enums must contain"),
    (Initial, "InitVar"),
    (Private, "_secret of .*Private would be lost"),
    (typing.Callable[[int], int], "Callable cannot be stored"),
]


@pytest.mark.parametrize(("annotation", "message"), REFUSED, ids=lambda value: f"{value!s:.50}")
def test_a_type_that_cannot_come_back_is_refused_at_decoration_by_the_name_of_the_parameter(
    annotation: Any, message: str
):
    app = App()

    def function(fine: int, odd: annotation): ...

    with pytest.raises(InvalidInput, match=f"^function: parameter `odd`.*{message}"):
        app.task(function)
    with pytest.raises(InvalidInput, match=f"^function: parameter `odd`.*{message}"):
        app.task(lambda_with(annotation))

    def result() -> annotation: ...

    with pytest.raises(InvalidInput, match=f"^the result of result.*{message}"):
        app.task(result)


def lambda_with(annotation: Any) -> Any:
    def function(*odd: annotation): ...

    return function


def test_a_refused_type_is_told_what_could_be_used_instead():
    with pytest.raises(InvalidInput, match=r"What can be: dataclasses, .* pydantic models"):
        ValueCodec(Strange, "the result of f", MANY)


@pytest.mark.parametrize(
    ("default", "message"),
    [
        (object(), "cannot be stored"),
        (float("nan"), "NaN"),
        ((1, 2), "would come back as"),
        (b"x", "would come back as"),
        (Strange(), "cannot be stored"),
    ],
    ids=str,
)
def test_a_default_that_cannot_come_back_is_refused_at_decoration(default: Any, message: str):
    def function(value=default): ...

    with pytest.raises(InvalidInput, match=f"^function: the default of `value`: .*{message}"):
        App().task(function)


def test_a_default_of_another_type_than_its_annotation_is_refused_at_decoration():
    def function(value: int = "1"): ...

    with pytest.raises(InvalidInput, match="the default of `value`: Expected `int`, got `str`"):
        App().task(function)


def test_a_default_of_none_needs_no_optional():
    def function(value: int = None): ...  # noqa: RUF013 - users do

    signature = Signature(function, "f", MANY)
    assert signature.decode(signature.encode((), {})[0]) == ((None,), {})


def test_a_name_that_is_known_to_the_type_checker_only_is_refused_with_the_way_out():
    def function(value: "Missing"): ...  # noqa: F821 - this is the point

    with pytest.raises(InvalidInput, match=r"^f: in its annotations, name 'Missing' is not defined; define it above"):
        Signature(function, "f", MANY)


@pytest.mark.parametrize("name", ["self", "cls", "class_", "_x", "name", "type", "tag", "args"])
def test_parameters_may_have_any_ordinary_name(name: str):
    scope: dict[str, Any] = {}
    exec(f"def function({name}: int, *, more_{name}: int = 1): ...", scope)
    signature = Signature(scope["function"], "f", MANY)
    assert signature.decode(signature.encode((), {name: 1})[0]) == ((1,), {f"more_{name}": 1})


def test_a_parameter_named_like_a_part_of_the_machinery_is_refused_at_decoration():
    def function(__a: int): ...  # noqa: PYI063 - the old way to say it

    with pytest.raises(InvalidInput, match=r"^f: .*two underscores"):
        Signature(function, "f", MANY)
