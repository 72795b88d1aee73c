"""The floors measure, and a claim is judged by the median of each round's own ratio."""

import pytest

from benchmarks.claims import Claim, Round, judge
from benchmarks.process import MeasurementFailed, last_json, measure
from benchmarks.report import table

HALF_OF_F = Claim("P0", "half of F", "work", "per_s", "x/s", ("floor", "per_s"), (0.5, "F/2"), (0.9, "0.9 F"))
NO_REPEATS = Claim("P0", "twice", "work", "repeated", "", None, (0, "0"), is_exact=True)


def rounds(*pairs: tuple[float | None, float]) -> list[Round]:
    return [{"work": {"per_s": work}, "floor": {"per_s": floor}} for work, floor in pairs]


@pytest.mark.parametrize("module", ["benchmarks.floor", "benchmarks.commit"])
def test_a_floor_measures_a_rate(module: str):
    assert measure(["-m", module, "--n", "50"])["per_s"] > 0


def test_a_slow_spell_that_hits_both_sides_changes_no_ratio():
    verdict = judge(HALF_OF_F, rounds((60, 100), (6, 10), (70, 100)))
    assert (verdict.ratio, verdict.text) == (0.6, "reached")


def test_bounds_decide_the_verdict():
    assert judge(HALF_OF_F, rounds((40, 100))).text == "not reached"
    assert judge(HALF_OF_F, rounds((95, 100))).text == "reached, aim too"


def test_one_repeated_body_in_one_round_is_one_too_many():
    assert judge(NO_REPEATS, [{"work": {"repeated": n}} for n in (0, 0, 0)]).text == "reached"
    assert judge(NO_REPEATS, [{"work": {"repeated": n}} for n in (0, 1, 0)]).text == "not reached"
    assert judge(NO_REPEATS, [{"work": {"repeated": n}} for n in (0, -1, 0)]).text == "not reached"


def test_what_was_not_measured_is_said_to_be_so():
    verdict = judge(HALF_OF_F, rounds((None, 100)))
    assert verdict.text == "not measured"
    assert "not measured" in table([verdict])


def test_a_process_that_fails_is_reported_by_its_last_line():
    assert last_json(0, 'said in passing\n{"per_s": 1}\n', "") == {"per_s": 1}
    with pytest.raises(MeasurementFailed, match="boom"):
        last_json(1, "", "Traceback\nValueError: boom\n")
