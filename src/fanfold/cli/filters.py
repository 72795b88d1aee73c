"""What filters look like on a command line: `--tag customer=acme`, `--since 1h`."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

import click

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def tag(text: str) -> tuple[str, str]:
    """Return the name and the value of a tag; click's BadParameter for what is none."""
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise click.BadParameter(f"{text!r} is no tag: write name=value, as in customer=acme")
    return name, value


def since(text: str) -> int:
    """Return an instant in milliseconds since 1970; click's BadParameter for what is none."""
    from fanfold.run import instant_ms

    length = re.fullmatch(r"(\d+(?:\.\d+)?)([smhdw])", text)
    try:
        if length:
            return instant_ms(timedelta(**{_UNITS[length[2]]: float(length[1])}), "--since")
        return instant_ms(datetime.fromisoformat(text), "--since")
    except (ValueError, OverflowError):
        raise click.BadParameter(
            f"{text!r} is no time: write 90s, 15m, 1h, 2d, 1w, or a date as 2026-11-20T18:00"
        ) from None
