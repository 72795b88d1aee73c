"""What fanfold exports is documented where it is defined."""

import inspect
from collections.abc import Iterator
from types import ModuleType

import fanfold


def undocumented(module: ModuleType) -> Iterator[str]:
    """Every name in `__all__` has a docstring of its own, and so has every public method of a class among them."""
    for name in module.__all__:
        exported = getattr(module, name)
        if not own_docstring(exported):
            yield name
        if inspect.isclass(exported):
            for method, value in vars(exported).items():
                is_callable = isinstance(value, property | staticmethod | classmethod) or inspect.isfunction(value)
                if is_callable and not method.startswith("_") and not own_docstring(value):
                    yield f"{name}.{method}"


def own_docstring(thing: object) -> str | None:
    """Return the docstring written at this very thing: not a parent's, nor the one dataclasses make up."""
    text = vars(thing).get("__doc__") if inspect.isclass(thing) else thing.__doc__
    is_made_up = inspect.isclass(thing) and isinstance(text, str) and text.startswith(f"{thing.__name__}(")
    return None if is_made_up else text


def test_every_exported_name_is_documented():
    assert list(undocumented(fanfold)) == []


def test_exports_are_in_order_and_without_doubles():
    assert list(fanfold.__all__) == sorted(set(fanfold.__all__))


def test_an_undocumented_export_is_found():
    module = ModuleType("planted")
    text = """
from dataclasses import dataclass

class Parent:
    "A parent."

class Child(Parent):
    def told(self): "Told."
    def untold(self): ...
    def _private(self): ...

@dataclass
class Row:
    id: int

def start(): ...

__all__ = ["Parent", "Child", "Row", "start"]
"""
    exec(compile(text, "planted", "exec"), vars(module))
    assert list(undocumented(module)) == ["Child", "Child.untold", "Row", "start"]
