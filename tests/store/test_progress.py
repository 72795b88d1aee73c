"""A body says that it got on: its crashes are forgotten, and what it said is kept for people."""

import pytest

from fanfold.model import lifecycle
from fanfold.model.commands import Progressed
from tests.store.bench import Bench
from tests.store.test_retry import brought_to


def test_what_a_run_says_of_itself_is_kept(bench: Bench):
    run = bench.started()
    before = bench.row(run)
    outcome = bench.report(run, '{"done":3,"of":"é"}')
    assert bench.row(run) == before | {"progress": '{"done":3,"of":"é"}'}
    assert (outcome.lost, outcome.woken) == (set(), False)


def test_progress_without_a_text_leaves_the_text_that_was_there(bench: Bench):
    run = bench.started()
    bench.report(run, '{"done":3}')
    bench.report(run)
    assert bench.row(run)["progress"] == '{"done":3}'


def test_a_later_text_takes_the_place_of_an_earlier_one(bench: Bench):
    run = bench.started()
    bench.report(run, '{"done":3}')
    bench.report(run, '{"done":4}')
    assert bench.row(run)["progress"] == '{"done":4}'


def test_the_last_text_of_a_batch_counts(bench: Bench):
    run, other = bench.started(), bench.started()
    reports = [(run, "1"), (other, "7"), (run, "2"), (run, "3"), (other, "8")]
    bench.apply(progress=[Progressed(row.id, 1, text) for row, text in reports])
    assert (bench.row(run)["progress"], bench.row(other)["progress"]) == ("3", "8")


def test_progress_without_a_text_takes_none_from_the_same_batch(bench: Bench):
    run = bench.started()
    bench.apply(progress=[Progressed(run.id, 1, "1"), Progressed(run.id, 1)])
    assert bench.row(run)["progress"] == "1"


def test_a_report_of_another_epoch_beside_a_good_one_is_ignored(bench: Bench):
    run = bench.started()
    bench.apply(progress=[Progressed(run.id, 1, "1"), Progressed(run.id, 0, "0"), Progressed(run.id, 2, "2")])
    assert bench.row(run)["progress"] == "1"


@pytest.mark.parametrize("text", ["1", None])
def test_a_run_that_got_on_is_no_suspect(bench: Bench, text: str | None):
    run = bench.suspect()
    bench.claim_suspect()
    assert bench.row(run)["crashes"] == 2
    bench.report(run, text, epoch=3)
    assert bench.row(run)["crashes"] == 0


@pytest.mark.parametrize("epoch", [2, 4])
def test_another_epoch_reports_nothing(bench: Bench, epoch: int):
    run = bench.suspect()
    bench.claim_suspect()
    before = bench.row(run)
    bench.report(run, "1", epoch=epoch)
    assert bench.row(run) == before


@pytest.mark.parametrize("state", [state for state in lifecycle.STATES if state != lifecycle.RUNNING])
def test_what_does_not_run_reports_nothing(bench: Bench, state: str):
    run = brought_to(bench, state)
    before = bench.row(run)
    bench.report(run, "1", epoch=before["epoch"])
    assert bench.row(run) == before


def test_a_run_may_report_and_end_in_one_batch(bench: Bench):
    run = bench.started()
    bench.apply(progress=[Progressed(run.id, 1, "1")], ends=[bench.end_of(run)])
    assert (bench.state(run), bench.row(run)["progress"]) == (lifecycle.COMPLETED, "1")


def test_a_run_may_be_inserted_and_report_in_one_batch(bench: Bench):
    run = bench.run()
    bench.apply(new=[run], progress=[Progressed(run.id, 1, "1")])
    assert bench.row(run)["progress"] == "1"


def test_a_report_outlives_the_process(bench: Bench):
    run = bench.started()
    bench.report(run, "1")
    bench.reopen()
    bench.recover(run)
    assert (bench.row(run)["progress"], bench.row(run)["crashes"]) == ("1", 1)
