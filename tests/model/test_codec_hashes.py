"""A call has the same digest and the same content key in every process and release, however its sets iterate."""

import base64
import datetime as dt
import json
import os
import subprocess
import sys
from hashlib import blake2b
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from fanfold.model.canonical import content_key
from fanfold.model.codec import Signature
from tests.model.digests.calls import ADDRESS, ORDER, WORDS, Address, Order, hashes
from tests.model.values import PLAIN

ROOT = Path(__file__).resolve().parents[2]
GOLDEN: dict[str, list[Any]] = json.loads(Path(__file__).with_name("digests").joinpath("golden.json").read_text())


def plain(value): ...
def moment(value: dt.datetime): ...
def model(value: Order): ...
def address(value: Address): ...


def content(function: Any, *arguments: Any, **keywords: Any) -> tuple[str, int, str]:
    return Signature(function, "f", 1 << 22).encode_content(arguments, keywords)


def test_the_hashes_are_those_under_which_runs_are_stored():
    assert hashes() == GOLDEN


@pytest.mark.parametrize("seed", ["0", "1", "2", "3", "4711", "random"])
def test_the_hashes_do_not_depend_on_the_hash_seed(seed: str):
    command = [sys.executable, "-m", "tests.model.digests.calls"]
    environment = os.environ | {"PYTHONHASHSEED": seed}
    printed = subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True).stdout
    assert json.loads(printed) == GOLDEN


@given(PLAIN)
def test_the_content_is_encoded_as_any_input_is(value: Any):
    signature = Signature(plain, "f", 1 << 22)
    assert signature.encode_content((value,), {})[:2] == signature.encode((value,), {})


def test_a_content_key_is_128_bits_of_name_and_canonical_input():
    text, _, key = content(plain, 1)
    raw = blake2b(b"f\0" + text.encode(), digest_size=16).digest()
    assert base64.urlsafe_b64decode(key + "==") == raw
    assert len(key) == 22


def test_another_name_or_another_input_is_another_key():
    assert content_key(b"f", b"1") != content_key(b"f1", b"") != content_key(b"g", b"1")
    assert len({content(plain, n)[2] for n in range(1000)}) == 1000


def test_one_moment_in_two_zones_has_one_key():
    noon = dt.datetime(2026, 6, 1, 12, tzinfo=dt.timezone(dt.timedelta(hours=2)))
    assert content(moment, noon)[1:] == content(moment, noon.astimezone(dt.UTC))[1:]


@pytest.mark.parametrize("hours", [-5, 0, 5])
@pytest.mark.parametrize("day", [(1, 1, 1), (9999, 12, 31, 23)])
def test_a_moment_at_the_end_of_the_calendar_has_a_key(day: tuple[int, int, int], hours: int):
    assert content(moment, dt.datetime(*day, tzinfo=dt.timezone(dt.timedelta(hours=hours))))


def test_models_are_one_input_however_their_sets_were_filled_and_wherever_their_clocks_stood():
    other = ORDER.model_copy(update={"tags": {*list(WORDS)[::-1]}})
    assert content(model, ORDER)[1:] == content(model, other)[1:]
    moved = ADDRESS.model_copy(update={"seen": ADDRESS.seen.astimezone(dt.UTC)})
    assert content(address, ADDRESS)[1:] == content(address, moved)[1:]


def test_models_that_differ_in_one_field_are_two_inputs():
    other = ORDER.model_copy(update={"number": 4})
    assert content(model, ORDER)[2] != content(model, other)[2]
