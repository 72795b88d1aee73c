"""The examples in the docstrings of what users meet run as they stand."""

import inspect
import re

import pytest

import fanfold
from fanfold.blocking import Blocking

EXAMPLE = re.compile(r"```python\n(.*?)```", re.DOTALL)
MET = {name: getattr(fanfold, name) for name in fanfold.__all__} | {"Blocking": Blocking}
EXAMPLES = {name: EXAMPLE.findall(inspect.getdoc(met) or "") for name, met in MET.items()}


@pytest.mark.parametrize("name", [name for name, examples in EXAMPLES.items() if examples])
def test_an_example_in_a_docstring_runs(name: str):
    for example in EXAMPLES[name]:
        exec(compile(example, name, "exec"), {"__name__": name})


@pytest.mark.parametrize("name", ["App", "Run", "Blocking", "current"])
def test_what_a_newcomer_meets_first_has_an_example(name: str):
    assert EXAMPLES[name]
