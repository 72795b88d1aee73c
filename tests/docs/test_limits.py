"""The limits that are promised stand in the code under the names that the page gives."""

import importlib
import re

import pytest

from tests.house.source import ROOT

ROW = re.compile(r"^\| ([^|]+) \| ([\d,]+)(?: (\w+))? \| `([\w.]+)\.(\w+)` \|$", re.MULTILINE)
UNITS = {"": 1, "bytes": 1, "KiB": 1 << 10, "MiB": 1 << 20, "s": 1}
ROWS = ROW.findall((ROOT / "docs" / "guarantees.md").read_text())


@pytest.mark.parametrize(("what", "number", "unit", "module", "name"), ROWS, ids=[row[4] for row in ROWS])
def test_a_limit_is_what_the_page_says(what: str, number: str, unit: str, module: str, name: str):
    value = getattr(importlib.import_module(f"fanfold.{module}"), name)
    told = int(number.replace(",", "")) * UNITS[unit]
    assert value == (told * 1000 if name.endswith("_MS") else told), what


def test_every_row_of_the_table_was_read():
    section = (ROOT / "docs" / "guarantees.md").read_text().partition("## Limits")[2].partition("\n## ")[0]
    assert len(ROWS) == sum(line.startswith("|") for line in section.splitlines()) - 2 > 10
