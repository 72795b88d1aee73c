"""Merging the four customer files, by shards and in one piece, without fanfold."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from examples.customer_merge import merge
from examples.customer_merge.enrichment import enrich
from examples.customer_merge.generate import generate
from examples.customer_merge.merge import SOURCES, aggregate_results, load_customers, merge_shard
from examples.customer_merge.profiles import Level, PaymentStatus
from examples.customer_merge.sequential import merge_sequentially
from examples.customer_merge.sharding import NUM_SHARDS, shard_of

HEADERS = {
    "crm": "customer_id,company,email,plan",
    "billing": "customer_id,plan,monthly_price,status,seats",
    "product": "customer_id,seats,active_users,adoption_percent,days_since_login",
    "support": "customer_id,contact_email,priority,state,stars",
}


@pytest.fixture
def write(tmp_path):
    """Write the four files from lines by source, and return their folder."""

    def write_files(**lines):
        for source in SOURCES:
            text = "\n".join([HEADERS[source.name], *lines.get(source.name, [])])
            (tmp_path / source.filename).write_text(text + "\n", encoding="utf-8")
        return tmp_path

    return write_files


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("customers")
    generate(folder, rows=500)
    return folder


def by_shards(folder):
    return aggregate_results(merge_shard(folder, shard_id) for shard_id in range(NUM_SHARDS))


def only_customer(folder):
    (customer,) = load_customers(folder).values()
    return customer


def test_the_shards_together_give_what_the_sequential_version_gives(data):
    assert by_shards(data) == merge_sequentially(data)


def test_the_order_of_the_shards_does_not_matter(data):
    backwards = aggregate_results(merge_shard(data, shard_id) for shard_id in reversed(range(NUM_SHARDS)))
    assert backwards == by_shards(data)


def test_the_summary_of_the_seed_data_is_pinned(data):
    summary = json.loads(json.dumps(asdict(merge_sequentially(data))))
    assert summary == {
        "profiles_generated": 500,
        "shards_processed": 10,
        "sample_profile": {
            "customer_id": "C-0000001",
            "company": "Santos Bank",
            "email": "contact1@example.com",
            "plan": "pro",
            "monthly_revenue_cents": 278_400,
            "payment_status": "Past Due",
            "seats": 96,
            "active_users": 93,
            "open_tickets": 0,
            "sources": ["crm", "billing", "product", "support"],
            # 60, Past Due -20, 113 days -30, 97 % of the seats +10, 88 % adoption +10, stars 0
            "health_score": 30,
            "churn_risk": "HIGH",
            "expansion_potential": "LOW",
        },
        "statistics": {"avg_health_score": 60.1, "churn_distribution": {"LOW": 203, "MEDIUM": 185, "HIGH": 112}},
    }


def test_the_readme_shows_the_summary_of_the_default_data(tmp_path):
    generate(tmp_path)
    summary = json.loads(json.dumps(asdict(merge_sequentially(tmp_path))))
    text = (Path(merge.__file__).parent / "README.md").read_text(encoding="utf-8")
    shown = json.loads(text.split("```json")[1].split("```")[0])
    sample = shown.pop("sample_profile")
    assert sample.pop("...") == "..."
    assert sample.items() <= summary.pop("sample_profile").items()
    assert shown == summary


def test_the_summary_has_exactly_the_promised_keys(data):
    summary = asdict(by_shards(data))
    assert list(summary) == ["profiles_generated", "shards_processed", "sample_profile", "statistics"]
    assert list(summary["statistics"]) == ["avg_health_score", "churn_distribution"]


def test_a_summary_worked_out_by_hand(write):
    folder = write(
        crm=["A,Acorn,a@x,pro", "B,Birch,b@x,free"],
        billing=["A,pro,100,Active,10", "C,starter,20,Past Due,4"],
        product=["A,,9,60,1", "C,,1,10,40"],
        support=["C,c@x,urgent,open,", "D,d@x,low,closed,2"],
    )
    profiles = {key: enrich(customer) for key, customer in load_customers(folder).items()}
    # A: 60 +15 +15 +10 +10 is over 100. B: 60 -10. C: 60 -20 -15 -10 -10 -3 -5 is below 0. D: 60 -10 -10.
    assert {key: profile.health_score for key, profile in profiles.items()} == {"A": 100, "B": 50, "C": 0, "D": 40}
    summary = by_shards(folder)
    assert summary == merge_sequentially(folder)
    assert summary.profiles_generated == 4
    assert summary.sample_profile == profiles["A"]
    assert summary.statistics.avg_health_score == 47.5
    assert summary.statistics.churn_distribution == {Level.LOW: 1, Level.MEDIUM: 2, Level.HIGH: 1}
    assert profiles["A"].expansion_potential is Level.HIGH


def test_a_shard_returns_numbers_and_one_sample_however_many_customers_it_holds(data):
    shard = asdict(merge_shard(data, 3))
    assert list(shard) == ["shard_id", "count", "score_total", "churn_counts", "sample"]
    assert shard["count"] == sum(shard["churn_counts"].values()) > 30
    assert len(json.dumps(shard)) < 1_000


def test_every_customer_falls_into_one_shard_and_is_loaded_by_no_other(data):
    shards = [set(load_customers(data, shard_id)) for shard_id in range(NUM_SHARDS)]
    assert sum(map(len, shards)) == len(set().union(*shards)) == 500
    assert all(shard_of(customer_id) == shard_id for shard_id, ids in enumerate(shards) for customer_id in ids)


@pytest.mark.parametrize("shard_id", [-1, NUM_SHARDS])
def test_a_shard_that_does_not_exist_is_refused(data, shard_id):
    with pytest.raises(ValueError, match="shards go from 0 to 9"):
        merge_shard(data, shard_id)


def test_later_sources_overwrite_earlier_ones(write):
    customer = only_customer(
        write(
            crm=["A,Acorn,old@x,free"],
            billing=["A,pro,100,Active,10"],
            product=["A,12,9,50,1"],
            support=["A,new@x,low,closed,5"],
        )
    )
    assert (customer.plan, customer.seats, customer.email) == ("pro", 12, "new@x")
    assert customer.sources == ["crm", "billing", "product", "support"]


def test_a_blank_or_unreadable_cell_overwrites_nothing(write):
    customer = only_customer(
        write(
            crm=["A,Acorn,a@x,pro"],
            billing=["A, ,49,Past Due,10", "A,,free,,"],
            product=["A,n/a,9,50,1", "A,,,101,?"],
            support=["A, ,low,closed,"],
        )
    )
    assert (customer.company, customer.email, customer.plan) == ("Acorn", "a@x", "pro")
    assert (customer.monthly_revenue_cents, customer.payment_status) == (4_900, PaymentStatus.PAST_DUE)
    assert (customer.seats, customer.active_users, customer.adoption_percent) == (10, 9, 50)
    assert customer.days_since_login == 1


def test_a_zero_overwrites_as_any_number_does(write):
    customer = only_customer(write(billing=["A,pro,49,Active,10"], product=["A,0,5,50,9", "A,,0,0,0"]))
    assert (customer.seats, customer.active_users) == (0, 0)
    assert (customer.adoption_percent, customer.days_since_login) == (0, 0)


def test_past_due_lowers_the_score_once(write):
    paid = enrich(only_customer(write(billing=["A,pro,49,Trial,"])))
    due = enrich(only_customer(write(billing=["A,pro,49,Past Due,", "a ,pro,49, past_due,", "A,pro,49,,"])))
    assert due.payment_status is PaymentStatus.PAST_DUE
    assert paid.health_score - due.health_score == 20


def test_a_bill_that_was_paid_later_is_no_longer_past_due(write):
    customer = only_customer(write(billing=["A,pro,49,Past Due,", "A,pro,49,Active,"]))
    assert customer.payment_status is PaymentStatus.ACTIVE


@pytest.mark.parametrize(
    ("source", "line"),
    [("crm", "A,Acorn,a@x,pro"), ("billing", "A,,,,"), ("product", "A,,,,"), ("support", "A,,,,")],
)
def test_a_customer_that_one_file_knows_gets_a_profile(write, source, line):
    folder = write(**{source: [line]})
    assert only_customer(folder).sources == [source]
    assert by_shards(folder).profiles_generated == merge_sequentially(folder).profiles_generated == 1


def test_ids_join_over_case_and_blanks(write):
    customer = only_customer(write(crm=[" a-1,Acorn,,"], billing=["A-1 ,pro,49,Active,3"], support=["a-1,,low,open,"]))
    assert customer.customer_id == "A-1"
    assert customer.sources == ["crm", "billing", "support"]


def test_a_row_without_an_id_joins_with_nothing(write):
    assert by_shards(write(crm=[",Acorn,a@x,pro", "  ,Birch,,", ""])).profiles_generated == 0


def test_tickets_of_a_customer_are_added_up(write):
    lines = ["A,,urgent,open,", "A,,Urgent , OPEN,", "A,,low,open,", "A,,urgent,closed,4", "A,,low,closed,5", "A,,,,9"]
    customer = only_customer(write(support=lines))
    assert (customer.open_tickets, customer.urgent_tickets) == (3, 2)
    assert (customer.rated_tickets, customer.stars_total) == (2, 9)


def test_a_row_that_is_cut_short_has_blank_cells(write):
    customer = only_customer(write(crm=["A,Acorn"], product=["A,7,3"]))
    assert (customer.company, customer.plan, customer.seats, customer.active_users) == ("Acorn", None, 7, 3)


def test_columns_may_come_in_any_order_and_with_others(write):
    folder = write()
    (folder / "crm.csv").write_text(
        "Plan,owner, Company,EMAIL,Customer_ID\npro,Ada,Acorn,a@x,A\n", encoding="utf-8-sig"
    )
    customer = only_customer(folder)
    assert (customer.customer_id, customer.plan, customer.company) == ("A", "pro", "Acorn")


def test_a_missing_column_is_named_with_its_file(write):
    folder = write()
    (folder / "billing.csv").write_text("customer_id,plan,seats\n")
    with pytest.raises(ValueError, match=r"billing\.csv has no column monthly_price, status; it has customer_id"):
        load_customers(folder)


def test_no_customers_give_a_summary_of_zeros(write):
    summary = by_shards(write())
    assert summary == merge_sequentially(write())
    assert (summary.profiles_generated, summary.sample_profile) == (0, None)
    assert summary.statistics.avg_health_score == 0.0
    assert summary.statistics.churn_distribution == {Level.LOW: 0, Level.MEDIUM: 0, Level.HIGH: 0}


def test_a_missing_file_is_an_error_and_not_an_empty_source(write):
    folder = write(crm=["A,Acorn,a@x,pro"])
    (folder / "support_tickets.csv").unlink()
    with pytest.raises(FileNotFoundError, match="support_tickets"):
        merge_shard(folder, 0)
