"""Reads the cells of exports that people and several systems have touched. Pure; what cannot be read is None."""

import re
from functools import lru_cache

from examples.customer_merge.profiles import PaymentStatus

# Twelve digits are more than any seat count or price; a longer run of digits is a slipped column, not a number.
_WHOLE = re.compile(r"(\d{1,12})(?:\.0+)?")
_MONEY = re.compile(r"(\d{1,12})(?:\.(\d{1,2}))?")

_STATUSES = {
    "active": PaymentStatus.ACTIVE,
    "trial": PaymentStatus.TRIAL,
    "past due": PaymentStatus.PAST_DUE,
    "pastdue": PaymentStatus.PAST_DUE,
    "overdue": PaymentStatus.PAST_DUE,
    "cancelled": PaymentStatus.CANCELLED,
    "canceled": PaymentStatus.CANCELLED,
}


def read_customer_id(cell: str) -> str | None:
    """Return the id without blanks and in capitals, so that ` c-0000017` joins with `C-0000017`; None if empty."""
    return cell.strip().upper() or None


def read_text(cell: str) -> str | None:
    """Return the text with single blanks, or None if there is none."""
    return " ".join(cell.split()) or None


def read_lower(cell: str) -> str | None:
    """Return the text in lower case, for words from a fixed list such as plans and e-mail addresses."""
    return cell.strip().lower() or None


def read_whole(cell: str) -> int | None:
    """Return a whole number that is not negative; `1,200`, ` 12 `, `35%` and `12.0` are fine, other text is None."""
    found = _WHOLE.fullmatch(cell.strip().rstrip("%").rstrip().replace(",", ""))
    return int(found[1]) if found else None


def read_percent(cell: str) -> int | None:
    """Return a percentage from 0 to 100, or None for anything else."""
    percent = read_whole(cell)
    return percent if percent is not None and percent <= 100 else None


def read_cents(cell: str) -> int | None:
    """Return an amount such as `49`, `$49.90` or `1,200.5` in cents, or None. No float on the way."""
    found = _MONEY.fullmatch(cell.strip().lstrip("$").strip().replace(",", ""))
    return int(found[1]) * 100 + int((found[2] or "").ljust(2, "0")) if found else None


@lru_cache(maxsize=1024)
def read_payment_status(cell: str) -> PaymentStatus | None:
    """Return the status whatever its case, blanks, `_` or `-`; None for a blank cell, UNKNOWN for other words.

    Cached: a million rows hold a few dozen spellings.
    """
    words = " ".join(cell.casefold().replace("_", " ").replace("-", " ").split())
    return _STATUSES.get(words, PaymentStatus.UNKNOWN) if words else None
