"""Durable asyncio for Python: fan work out to a million tasks, fold the results back, survive `kill -9`."""

from fanfold.app import App
from fanfold.errors import (
    FanfoldError,
    GiveUp,
    GroupFailed,
    InvalidInput,
    KeyConflict,
    LeaseLost,
    NonDeterminism,
    NotAllowed,
    NotFound,
    NotInRun,
    PayloadTooLarge,
    Quarantined,
    RetryAfter,
    StoreInUse,
    StoreUnavailable,
    TaskCancelled,
    TaskFailed,
    TaskTimedOut,
    UnknownTask,
)
from fanfold.model.retry import Retry
from fanfold.model.run import ChildCounts, RunStatus
from fanfold.run import Run
from fanfold.worker.context import current
from fanfold.worker.group import Group, open_group
from fanfold.worker.handle import Handle
from fanfold.worker.outcome import Outcome
from fanfold.worker.sleep import sleep
from fanfold.worker.task import Task, Workflow

__all__ = [
    "App",
    "ChildCounts",
    "FanfoldError",
    "GiveUp",
    "Group",
    "GroupFailed",
    "Handle",
    "InvalidInput",
    "KeyConflict",
    "LeaseLost",
    "NonDeterminism",
    "NotAllowed",
    "NotFound",
    "NotInRun",
    "Outcome",
    "PayloadTooLarge",
    "Quarantined",
    "Retry",
    "RetryAfter",
    "Run",
    "RunStatus",
    "StoreInUse",
    "StoreUnavailable",
    "Task",
    "TaskCancelled",
    "TaskFailed",
    "TaskTimedOut",
    "UnknownTask",
    "Workflow",
    "current",
    "open_group",
    "sleep",
]
