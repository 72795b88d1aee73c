"""The generator of the customer files, and how customers fall into shards."""

import csv
import hashlib
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from examples.customer_merge.generate import HEADERS, MAX_ROWS, generate
from examples.customer_merge.merge import load_customers
from examples.customer_merge.profiles import PaymentStatus
from examples.customer_merge.sharding import NUM_SHARDS, shard_of

ROOT = Path(__file__).parents[2]


def read(folder, name):
    with (folder / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("customers")
    generate(folder, rows=2_000)
    return folder


def test_the_same_seed_gives_the_same_bytes_on_every_machine(tmp_path):
    generate(tmp_path, rows=500)
    digests = {path.name: hashlib.sha256(path.read_bytes()).hexdigest()[:16] for path in tmp_path.iterdir()}
    assert digests == {
        "crm.csv": "740119499d7853a7",
        "billing.csv": "b9995297eda4fa62",
        "product_usage.csv": "04067c83662c06a2",
        "support_tickets.csv": "bb4168fa4cfb3f23",
    }


def test_another_seed_gives_other_customers(tmp_path, data):
    generate(tmp_path, rows=2_000, seed=1)
    assert (tmp_path / "billing.csv").read_bytes() != (data / "billing.csv").read_bytes()


def test_more_rows_only_add_customers(tmp_path, data):
    generate(tmp_path, rows=100)
    assert (data / "billing.csv").read_bytes().startswith((tmp_path / "billing.csv").read_bytes())


def test_the_files_have_their_headers_and_the_counted_rows(tmp_path):
    counts = generate(tmp_path, rows=300)
    assert {path.name for path in tmp_path.iterdir()} == set(HEADERS)
    for name, header in HEADERS.items():
        rows = read(tmp_path, name)
        assert tuple(rows[0]) == header
        assert len(rows) == counts[name]


def test_every_customer_is_in_at_least_one_file_and_none_twice(data):
    customers = load_customers(data)
    assert sorted(customers) == [f"C-{number:07d}" for number in range(1, 2_001)]


def test_some_customers_are_missing_from_each_file_and_some_are_in_one_only(data):
    sources = Counter(name for customer in load_customers(data).values() for name in customer.sources)
    assert set(sources) == {"crm", "billing", "product", "support"}
    assert all(0 < count < 2_000 for count in sources.values())
    assert any(len(customer.sources) == 1 for customer in load_customers(data).values())


def test_the_files_are_as_untidy_as_real_ones(data):
    ids = [row["customer_id"] for name in HEADERS for row in read(data, name)]
    assert any(cell != cell.strip() for cell in ids)
    assert any(cell != cell.upper() for cell in ids)
    assert "" in ids
    statuses = {row["status"] for row in read(data, "billing.csv")}
    assert {"Past Due", " Past Due ", "PAST_DUE", "on hold", ""} <= statuses
    assert any(row["plan"] is None for row in read(data, "crm.csv"))
    assert max(Counter(row["customer_id"] for row in read(data, "support_tickets.csv")).values()) > 1


def test_every_payment_status_occurs(data):
    assert {customer.payment_status for customer in load_customers(data).values()} == set(PaymentStatus)


@pytest.mark.parametrize("rows", [0, -1, MAX_ROWS + 1])
def test_a_number_of_rows_out_of_range_is_refused_and_writes_nothing(tmp_path, rows):
    with pytest.raises(ValueError, match=r"it goes from 1 to 1,000,000"):
        generate(tmp_path / "out", rows=rows)
    assert not (tmp_path / "out").exists()


def test_one_customer_is_enough(tmp_path):
    generate(tmp_path, rows=1)
    assert list(load_customers(tmp_path)) == ["C-0000001"]


def test_the_generator_is_a_command(tmp_path):
    command = [sys.executable, "-m", "examples.customer_merge.generate", "--rows", "50", "--out", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert len(done.stdout.splitlines()) == 4
    assert len(load_customers(tmp_path)) == 50


def test_a_shard_is_pinned_to_its_customers():
    ids = ("C-0000001", "C-0000002", "C-0000017", "C-0010000", "C-1000000", "MÜLLER-7")
    assert [shard_of(customer_id) for customer_id in ids] == [0, 6, 8, 4, 2, 4]


def test_there_are_ten_shards_and_none_holds_much_more_than_a_tenth():
    counts = Counter(shard_of(f"C-{number:07d}") for number in range(1, 10_001))
    assert sorted(counts) == list(range(NUM_SHARDS)) == list(range(10))
    assert all(900 <= count <= 1_100 for count in counts.values())
