"""What follows from how an attempt failed: whether there is another one, when, and what is recorded and logged.

A body of the pool's processes failed elsewhere; what it raised comes as text.
"""

from __future__ import annotations

from fanfold.errors import RetryAfter
from fanfold.model.ids import place_random
from fanfold.model.retry import asked_delay_ms, kinds_of
from fanfold.worker.body import Body
from fanfold.worker.executors.processes import BodyFailed
from fanfold.worker.failures import MAX_BRIEF, brief, failure_text


def wants_another(body: Body, error: BaseException) -> bool:
    """Tell whether a failed attempt is followed by another one, by the body's policy or its own word."""
    retry, attempt = body.retry, body.attempt
    asks = isinstance(error, RetryAfter) or (isinstance(error, BodyFailed) and error.retry_after_ms is not None)
    if asks:
        return attempt < retry.max_attempts
    return retry.wants(attempt, error.kinds if isinstance(error, BodyFailed) else kinds_of(error))


def delay_ms(body: Body, error: BaseException) -> int:
    """Return how long the next attempt waits; InvalidInput if the body asked for what is no delay."""
    if isinstance(error, BodyFailed) and error.retry_after_ms is not None:
        return error.retry_after_ms
    if isinstance(error, RetryAfter):
        return asked_delay_ms(error.delay)
    # The same in every process that may decide this; different for each run, so that they do not come in herds.
    chance = place_random(body.run.id, 0, f"retry {body.attempt}").uniform(-1, 1)
    return body.retry.delay_ms(body.attempt, chance)


def record(error: BaseException, attempt: int) -> str:
    """Return what is recorded of a failed attempt."""
    return error.text if isinstance(error, BodyFailed) else failure_text(error, attempt)


def brief_of(error: BaseException) -> str:
    """Return what is logged of a failed attempt."""
    return str(error)[:MAX_BRIEF] if isinstance(error, BodyFailed) else brief(error)
