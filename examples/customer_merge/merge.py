"""Reads the four CSV files, merges them by customer, sums up a shard and folds the shards into the summary.

Plain functions over files; what makes the job durable is in `app.py` alone.
"""

import csv
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path

from examples.customer_merge.cells import (
    read_cents,
    read_customer_id,
    read_lower,
    read_payment_status,
    read_percent,
    read_text,
    read_whole,
)
from examples.customer_merge.enrichment import enrich
from examples.customer_merge.profiles import Customer, Level, Profile, ShardResult, Statistics, Summary
from examples.customer_merge.sharding import NUM_SHARDS, shard_of


@dataclass(frozen=True, slots=True)
class Source:
    """One CSV file: its columns besides `customer_id`, and how a row's cells change a customer."""

    name: str
    filename: str
    columns: tuple[str, ...]
    merge: Callable[[Customer, tuple[str, ...]], None]


# In all four: a later source overwrites what an earlier one said, and a blank or unreadable cell overwrites nothing.
# `read(cell) or known` would lose a real 0, so numbers are compared with None.


def merge_crm(customer: Customer, cells: tuple[str, ...]) -> None:
    """Take over who the customer is, as sales wrote it down."""
    company, email, plan = cells
    customer.company = read_text(company) or customer.company
    customer.email = read_lower(email) or customer.email
    customer.plan = read_lower(plan) or customer.plan


def merge_billing(customer: Customer, cells: tuple[str, ...]) -> None:
    """Take over what the customer pays for; the plan on the bill wins over the one in the CRM."""
    plan, price, status, seats = cells
    customer.plan = read_lower(plan) or customer.plan
    customer.payment_status = read_payment_status(status) or customer.payment_status
    if (cents := read_cents(price)) is not None:
        customer.monthly_revenue_cents = cents
    if (bought := read_whole(seats)) is not None:
        customer.seats = bought


def merge_product(customer: Customer, cells: tuple[str, ...]) -> None:
    """Take over how the product is used; the seats set up there win over those on the bill."""
    seats, users, adoption, days = cells
    if (assigned := read_whole(seats)) is not None:
        customer.seats = assigned
    if (active := read_whole(users)) is not None:
        customer.active_users = active
    if (percent := read_percent(adoption)) is not None:
        customer.adoption_percent = percent
    if (since := read_whole(days)) is not None:
        customer.days_since_login = since


def merge_support(customer: Customer, cells: tuple[str, ...]) -> None:
    """Add one ticket; its sender is the newest address that is known."""
    email, priority, state, stars = cells
    customer.email = read_lower(email) or customer.email
    if read_lower(state) == "open":
        customer.open_tickets += 1
        customer.urgent_tickets += read_lower(priority) == "urgent"
    rating = read_whole(stars)
    if rating is not None and 1 <= rating <= 5:
        customer.rated_tickets += 1
        customer.stars_total += rating


SOURCES = (
    Source("crm", "crm.csv", ("company", "email", "plan"), merge_crm),
    Source("billing", "billing.csv", ("plan", "monthly_price", "status", "seats"), merge_billing),
    Source(
        "product", "product_usage.csv", ("seats", "active_users", "adoption_percent", "days_since_login"), merge_product
    ),
    Source("support", "support_tickets.csv", ("contact_email", "priority", "state", "stars"), merge_support),
)


def read_rows(path: Path, columns: tuple[str, ...]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield the customer id cell and the cells of these columns for each row, whatever the order in the file.

    A row that is cut short has blank cells. A file without one of the columns is a ValueError that names both.
    """
    # utf-8-sig: spreadsheets put a byte order mark before the first header.
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file)
        header = [name.strip().lower() for name in next(reader, None) or []]
        missing = {"customer_id", *columns} - set(header)
        if missing:
            raise ValueError(f"{path.name} has no column {', '.join(sorted(missing))}; it has {', '.join(header)}")
        id_place = header.index("customer_id")
        # Read by place and not by DictReader: that costs a dict for each row of another shard.
        pick = itemgetter(*(header.index(name) for name in columns))
        blanks = [""] * len(header)
        for row in reader:
            cells = row if len(row) >= len(header) else row + blanks
            yield cells[id_place], pick(cells)


def load_customers(data_dir: Path, shard_id: int | None = None) -> dict[str, Customer]:
    """Read and merge the four files in the order of SOURCES; keep one shard's customers, or all without a shard.

    A row without a customer id joins with nothing and is left out.
    """
    customers: dict[str, Customer] = {}
    for source in SOURCES:
        for id_cell, cells in read_rows(data_dir / source.filename, source.columns):
            customer_id = read_customer_id(id_cell)
            if customer_id is None or (shard_id is not None and shard_of(customer_id) != shard_id):
                continue
            customer = customers.get(customer_id)
            if customer is None:
                customer = customers[customer_id] = Customer(customer_id)
            source.merge(customer, cells)
            if source.name not in customer.sources:
                customer.sources.append(source.name)
    return customers


def summarize_shard(shard_id: int, profiles: Iterable[Profile]) -> ShardResult:
    """Reduce a shard's profiles to its counts and one sample, the profile with the smallest customer id."""
    count = score_total = 0
    churn_counts = dict.fromkeys(Level, 0)
    sample: Profile | None = None
    for profile in profiles:
        count += 1
        score_total += profile.health_score
        churn_counts[profile.churn_risk] += 1
        if sample is None or profile.customer_id < sample.customer_id:
            sample = profile
    return ShardResult(shard_id, count, score_total, churn_counts, sample)


def merge_shard(data_dir: Path, shard_id: int) -> ShardResult:
    """Load, merge, enrich and sum up one shard, 0 to NUM_SHARDS - 1, from the files in a folder."""
    if not 0 <= shard_id < NUM_SHARDS:
        raise ValueError(f"shard_id is {shard_id}; shards go from 0 to {NUM_SHARDS - 1}")
    return summarize_shard(shard_id, map(enrich, load_customers(data_dir, shard_id).values()))


def aggregate_results(shards: Iterable[ShardResult]) -> Summary:
    """Fold the shards' results into the summary; their order does not matter."""
    done = list(shards)
    count = sum(shard.count for shard in done)
    score_total = sum(shard.score_total for shard in done)
    samples = [shard.sample for shard in done if shard.sample is not None]
    return Summary(
        profiles_generated=count,
        shards_processed=len(done),
        sample_profile=min(samples, key=lambda profile: profile.customer_id, default=None),
        statistics=Statistics(
            avg_health_score=round(score_total / count, 1) if count else 0.0,
            churn_distribution={level: sum(shard.churn_counts[level] for shard in done) for level in Level},
        ),
    )
