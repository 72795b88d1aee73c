"""What the model of the store keeps: its rows, as far as anything depends on them, and what it expects to be told."""

from dataclasses import dataclass, field

from fanfold.model.commands import ClaimRequest
from fanfold.model.run import WORKFLOW


@dataclass
class ModelRun:
    """A row of `runs`, as far as anything depends on it."""

    id: int
    root_id: int
    parent_id: int
    key: str | None
    kind: str
    name: str
    state: str
    queue: str
    priority: int
    available_at: int
    compensates: int
    digest: int
    epoch: int = 0
    attempt: int = 0
    crashes: int = 0
    owner: int | None = None
    seq: int | None = None
    cancel_requested_at: int | None = None
    finished_at: int | None = None
    blocked: str | None = None
    progress: str | None = None
    started_at: int | None = None
    output: str | None = None
    error: str | None = None
    same_as: int | None = None

    @property
    def has_started(self) -> bool:
        return self.kind == WORKFLOW and self.epoch > 0


@dataclass
class ModelParent:
    """A row of `parents`."""

    id: int
    spawned: int = 0
    open: int = 0
    delivered: int = 0
    consumed: int = 0
    failed: int = 0
    cancelled: int = 0
    sealed: int = 0
    held: int = 0
    decided: int = 0


@dataclass
class Expected:
    """What an Outcome must say."""

    ended: dict[int, list[int]] = field(default_factory=dict)
    first_seq: dict[int, int] = field(default_factory=dict)
    claimed: list[tuple[int, ...]] = field(default_factory=list)  # id, epoch, attempt, crashes, has_children
    filled: list[ClaimRequest] = field(default_factory=list)
    refused: dict[int, int | None] = field(default_factory=dict)
    doomed: set[int] = field(default_factory=set)
    blocked: set[int] = field(default_factory=set)
    lost: set[int] = field(default_factory=set)
    retried: set[int] = field(default_factory=set)
    returned: set[int] = field(default_factory=set)
    evicted: set[int] = field(default_factory=set)
    woken: bool = False
    told: set[int] = field(default_factory=set)
    stopping: list[int] = field(default_factory=list)
    flagged: list[int] = field(default_factory=list)
