"""What the exit codes of the command mean; scripts rely on them."""

from __future__ import annotations

from typing import Final

from fanfold import errors

ERROR: Final = 1
USAGE: Final = 2
NOT_FOUND: Final = 3
CONFLICT: Final = 4
RUN_FAILED: Final = 5
RUN_CANCELLED: Final = 6
WAIT_TIMED_OUT: Final = 7
STORE_UNREACHABLE: Final = 8
HUNG_UP: Final = 129
INTERRUPTED: Final = 130
TERMINATED: Final = 143

# The first class that fits decides, so a subclass stands before its base.
_BY_CLASS: Final[tuple[tuple[type[errors.FanfoldError], int], ...]] = (
    (errors.InvalidInput, USAGE),
    (errors.PayloadTooLarge, USAGE),
    (errors.UnknownTask, USAGE),
    (errors.NotFound, NOT_FOUND),
    (errors.KeyConflict, CONFLICT),
    (errors.TaskCancelled, RUN_CANCELLED),
    (errors.TaskFailed, RUN_FAILED),
    (errors.StoreInUse, STORE_UNREACHABLE),
    (errors.StoreUnavailable, STORE_UNREACHABLE),
)


def of(error: errors.FanfoldError) -> int:
    """Return the exit code of an error."""
    return next((code for kind, code in _BY_CLASS if isinstance(error, kind)), ERROR)
