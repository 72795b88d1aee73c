"""Writes the four CSV files. The same seed and number of rows give the same bytes on every machine and Python.

The files are as untidy as real exports: customers that only some systems know, blank and cut cells, ids and words in
odd case with stray blanks, several tickets a customer, amounts with signs, rows without an id.
"""

import argparse
import csv
import random
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TypeVar

DEFAULT_ROWS = 10_000
MAX_ROWS = 1_000_000
DEFAULT_SEED = 20_240

HEADERS = {
    "crm.csv": ("customer_id", "company", "email", "plan", "account_owner"),
    "billing.csv": ("customer_id", "plan", "monthly_price", "status", "seats"),
    "product_usage.csv": ("customer_id", "seats", "active_users", "adoption_percent", "days_since_login"),
    "support_tickets.csv": ("ticket_id", "customer_id", "contact_email", "priority", "state", "stars"),
}

FIRST_WORDS = ("Northwind", "Müller", "Blue Harbor", "Ōtani", "Acorn", "Vega", "Granite", "Fjord", "Pinecone", "Santos")
LAST_WORDS = ("Logistics", "& Söhne, GmbH", "Labs", "Foods", 'Parts "Express"', "Health", "Studio", "Energy", "Bank")
OWNERS = ("Ada", "Bo", "Chidi", "Dana", "Emre", "")
PLANS = ("free", "starter", "pro", "enterprise")
PRICE_PER_SEAT = {"free": 0, "starter": 12, "pro": 29, "enterprise": 55}
STATUSES = ("Active",) * 15 + ("Trial",) * 2 + ("Past Due",) * 3 + ("Cancelled",) * 2
UNTIDY_STATUSES = ("past due", " Past Due ", "PAST_DUE", "Past-Due", "ACTIVE", "active ", "canceled", "on hold", "")
PRIORITIES = ("low", "normal", "normal", "high", "urgent")

T = TypeVar("T")
Row = tuple[str, ...] | list[str]


class CustomerMaker:
    """Makes customer after customer from a seed. Uses `random()` alone: only its sequence is promised for ever."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed).random
        self._ticket_count = 0

    def _chance(self, share: float) -> bool:
        return self._random() < share

    def _below(self, limit: int) -> int:
        return int(self._random() * limit)

    def _pick(self, values: Sequence[T]) -> T:
        return values[self._below(len(values))]

    def _untidy(self, cell: str) -> str:
        """Return the cell as it stands, mostly; else blank, in odd case or with blanks around it."""
        if not self._chance(0.06):
            return cell
        return self._pick(("", cell.upper(), cell.lower(), f"  {cell}", f"{cell} "))

    def _untidy_id(self, customer_id: str) -> str:
        if not self._chance(0.04):
            return customer_id
        return self._pick((customer_id.lower(), f" {customer_id}", f"{customer_id}  "))

    def rows_of(self, number: int) -> dict[str, list[Row]]:
        """Return the rows of a customer by file name; every customer is in at least one file."""
        customer_id = f"C-{number:07d}"
        email = f"contact{number}@example.com"
        plan = self._pick(PLANS)
        seats = 1 + self._below(5 if plan == "free" else 200)
        rows: dict[str, list[Row]] = {name: [] for name in HEADERS}
        if self._chance(0.94):
            rows["billing.csv"] = self._billing(customer_id, plan, seats)
        if self._chance(0.90):
            rows["product_usage.csv"] = [self._usage(customer_id, seats)]
        if self._chance(0.45):
            rows["support_tickets.csv"] = [self._ticket(customer_id, email) for _ in range(1 + self._below(5))]
        if self._chance(0.96) or not any(rows.values()):
            rows["crm.csv"] = [self._crm(customer_id, email, plan)]
        if self._chance(0.002):
            rows["crm.csv"].append(["", "no id yet", "", "", self._pick(OWNERS)])
        return rows

    def _crm(self, customer_id: str, email: str, plan: str) -> Row:
        company = f"{self._pick(FIRST_WORDS)} {self._pick(LAST_WORDS)}"
        row = [self._untidy_id(customer_id), company, self._untidy(email), self._untidy(plan), self._pick(OWNERS)]
        return row[:3] if self._chance(0.01) else row

    def _billing(self, customer_id: str, plan: str, seats: int) -> list[Row]:
        # One in twenty has moved to another plan, and sales has not heard of it.
        billed = self._pick(PLANS) if self._chance(0.05) else plan
        dollars = seats * PRICE_PER_SEAT[billed]
        price = self._pick((f"{dollars}", f"{dollars}.00", f"${dollars:,}", f"{dollars}.50"))
        status = self._pick(UNTIDY_STATUSES) if self._chance(0.08) else self._pick(STATUSES)
        row = (self._untidy_id(customer_id), self._untidy(billed), price, status, f"{seats}")
        # The same bill twice, as after an export that was started again half-way.
        return [row, row] if self._chance(0.01) else [row]

    def _usage(self, customer_id: str, seats: int) -> Row:
        users = self._below(seats + 1 + seats // 10)
        days = self._pick((self._below(8), self._below(31), self._below(120)))
        adoption = self._below(101)
        shown = self._pick((f"{adoption}", f"{adoption}", f"{adoption}%", "n/a", ""))
        assigned = f"{seats + self._below(4)}" if self._chance(0.1) else ""
        return self._untidy_id(customer_id), assigned, f"{users}", shown, "" if self._chance(0.03) else f"{days}"

    def _ticket(self, customer_id: str, email: str) -> Row:
        self._ticket_count += 1
        is_open = self._chance(0.3)
        sender = f"it+{email}" if self._chance(0.1) else self._untidy(email)
        stars = "" if is_open or self._chance(0.4) else f"{1 + self._below(5)}"
        return (
            f"T-{self._ticket_count:08d}",
            self._untidy_id(customer_id),
            sender,
            self._untidy(self._pick(PRIORITIES)),
            self._pick(("open", "Open", "OPEN ")) if is_open else "closed",
            stars,
        )


def generate(out_dir: Path, rows: int = DEFAULT_ROWS, seed: int = DEFAULT_SEED) -> dict[str, int]:
    """Write the files for this many customers, 1 to MAX_ROWS, and return the lines of data in each.

    Written one customer at a time, so memory does not grow with the rows. The files get their names when all are
    whole: half an export would merge without an error into wrong numbers.
    """
    if not 1 <= rows <= MAX_ROWS:
        raise ValueError(f"rows is {rows}; it goes from 1 to {MAX_ROWS:,}")
    out_dir.mkdir(parents=True, exist_ok=True)
    counts = dict.fromkeys(HEADERS, 0)
    maker = CustomerMaker(seed)
    with ExitStack() as files:
        writers = {
            # "\n" on every system, so that the bytes are the same.
            name: csv.writer(
                files.enter_context((out_dir / f"{name}.part").open("w", encoding="utf-8", newline="")),
                lineterminator="\n",
            )
            for name in HEADERS
        }
        for name, header in HEADERS.items():
            writers[name].writerow(header)
        for number in range(1, rows + 1):
            for name, lines in maker.rows_of(number).items():
                writers[name].writerows(lines)
                counts[name] += len(lines)
    for name in HEADERS:
        (out_dir / f"{name}.part").replace(out_dir / name)
    return counts


def main() -> None:
    """Write the files that the command line asks for and say what was written."""
    parser = argparse.ArgumentParser(description="Make four customer CSV files.")
    parser.add_argument("--rows", type=int, default=DEFAULT_ROWS, help=f"customers, 1 to {MAX_ROWS:,}")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "data", help="folder to write to")
    parser.add_argument("--seed", type=int, default=DEFAULT_SEED, help="another seed, other customers")
    options = parser.parse_args()
    try:
        counts = generate(options.out, options.rows, options.seed)
    except ValueError as error:
        parser.error(str(error))
    for name, count in counts.items():
        print(f"{options.out / name}: {count:,} rows")


if __name__ == "__main__":
    main()
