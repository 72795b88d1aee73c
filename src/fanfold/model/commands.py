"""What the engine asks of the store: a batch of small commands, and what came of it.

Commands are data. All of a batch is one transaction; the order of kinds inside it is the store's business.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from fanfold.model.run import Claimed, End, NewRun


class ClaimRequest(NamedTuple):
    """Claim up to `most` runs of these tasks: of a queue, highest priority and oldest first, or those of `ids`.

    Without either it is for the oldest suspect: a run whose process died whenever it was at work.
    """

    queue: str | None
    names: tuple[str, ...]
    most: int
    ids: tuple[int, ...] = ()


class Eviction(NamedTuple):
    """A workflow leaves memory; granted only if nothing was delivered after `consumed`."""

    id: int
    epoch: int
    consumed: int


class Release(NamedTuple):
    """A run is given back, if it is still held in this epoch; `crashes` is 1 if its process died."""

    id: int
    epoch: int
    crashes: int = 0


class Seal(NamedTuple):
    """The owner of a group adds no more members; guarded by the owner's epoch. With `error` the group has failed."""

    id: int
    epoch: int
    error: str | None = None


class Siblings(NamedTuple):
    """A member ended well, and adds others to its own group: both in one transaction, or neither."""

    end: End
    new: list[NewRun]

    @property
    def id(self) -> int:
        """The member that adds them."""
        return self.end.id

    @property
    def epoch(self) -> int:
        """The epoch in which it runs."""
        return self.end.epoch


class Checkpoint(NamedTuple):
    """How far a fold is: its value, and the place of the last member in it; guarded by the owner's epoch.

    With a group, what its members from `after` on, up to `upto`, have returned is no longer kept.
    """

    id: int
    epoch: int
    output: str
    progress: str
    group_id: int = 0
    after: int = 0
    upto: int = 0

    @property
    def drops(self) -> bool:
        """Tell whether the values that are in it are to be dropped."""
        return self.group_id > 0


class Folded(NamedTuple):
    """A fold is over; guarded by the owner's epoch."""

    id: int
    epoch: int
    output: str | None
    error: str | None = None


class Retried(NamedTuple):
    """An attempt failed, and another one follows."""

    id: int
    epoch: int
    delay_ms: int
    error: str


class Progressed(NamedTuple):
    """A run got on: its crashes are forgotten, and `progress` is what it said of itself, if it said anything."""

    id: int
    epoch: int
    progress: str | None = None


class Cancel(NamedTuple):
    """A request to cancel a run; a workflow is told by an event, which takes `event_id`.

    With `is_again`, what was asked before is asked once more: its compensation is cancelled as well.
    """

    id: int
    event_id: int
    is_again: bool = False


class Block(NamedTuple):
    """A run stands still until it is resumed."""

    id: int
    epoch: int
    reason: str


def payloads(command: Any) -> Iterable[str | None]:
    """Yield the texts of a command that may be large."""
    match command:
        case End():
            yield command.output or command.error
        case Retried():
            yield command.error
        case Progressed():
            yield command.progress
        case Checkpoint() | Folded():
            yield command.output
        case Siblings():
            yield command.end.output
            yield from (row.input for row in command.new)
        case _:
            pass


_KINDS = (
    "new",
    "seals",
    "claims",
    "progress",
    "drops",
    "returns",
    "siblings",
    "ends",
    "pages",
    "checkpoints",
    "folds",
    "retries",
    "quarantines",
    "settles",
    "wakes",
    "evictions",
    "blocks",
    "releases",
    "resumes",
    "cancels",
)


@dataclass(slots=True)
class Batch:
    """The commands of one transaction; each kind in the order in which it was asked for."""

    number: int = 0
    next_id: int = 0
    fires_timers: bool = False
    unknown: Outcome | None = None  # what it did if its last try was committed: the database did not say
    new: list[NewRun] = field(default_factory=list[NewRun])
    claims: list[ClaimRequest] = field(default_factory=list[ClaimRequest])
    seals: list[Seal] = field(default_factory=list[Seal])
    progress: list[Progressed] = field(default_factory=list[Progressed])
    drops: list[int] = field(default_factory=list[int])  # timers, by id
    returns: list[End] = field(default_factory=list[End])  # bodies that returned and may have children
    ends: list[End] = field(default_factory=list[End])
    siblings: list[Siblings] = field(default_factory=list[Siblings])
    pages: list[End] = field(default_factory=list[End])  # of groups, that were read and are handed out
    checkpoints: list[Checkpoint] = field(default_factory=list[Checkpoint])
    folds: list[Folded] = field(default_factory=list[Folded])
    retries: list[Retried] = field(default_factory=list[Retried])
    quarantines: list[End] = field(default_factory=list[End])  # runs that no worker holds
    settles: list[int] = field(default_factory=list[int])  # sealed parents that a sweep found, by id
    wakes: list[int] = field(default_factory=list[int])  # workflows that a sweep found behind, by id
    evictions: list[Eviction] = field(default_factory=list[Eviction])
    blocks: list[Block] = field(default_factory=list[Block])
    releases: list[Release] = field(default_factory=list[Release])
    resumes: list[int] = field(default_factory=list[int])  # roots whose paused runs try again, by id
    cancels: list[Cancel] = field(default_factory=list[Cancel])

    def __len__(self) -> int:
        """Return how many commands the batch holds."""
        return self.fires_timers + sum(len(getattr(self, kind)) for kind in _KINDS)

    def all_new(self) -> Iterable[NewRun]:
        """Yield all runs to be inserted."""
        yield from self.new
        for command in self.siblings:
            yield from command.new

    def split(self) -> list[Batch]:
        """Return two or more smaller batches that do the same in the same order; nothing for a single command."""
        parts = [Batch(**{kind: getattr(self, kind)}) for kind in _KINDS if getattr(self, kind)]
        if self.fires_timers:
            parts.append(Batch(fires_timers=True))
        if len(parts) > 1 or len(self) < 2:
            return parts if len(parts) > 1 else []
        (kind,) = (kind for kind in _KINDS if getattr(self, kind))
        commands = getattr(self, kind)
        middle = len(commands) // 2
        return [Batch(**{kind: commands[:middle]}), Batch(**{kind: commands[middle:]})]

    def runs(self) -> set[int]:
        """Return the runs on whose behalf these commands are: for a new run its parent, for a root itself."""
        return (
            {row.parent_id or row.id for row in self.new}
            | {command.id for command in (*self.returns, *self.siblings, *self.ends, *self.pages, *self.quarantines)}
            | {command.id for command in (*self.checkpoints, *self.folds)}
            | {command.id for command in (*self.seals, *self.progress, *self.retries, *self.evictions, *self.blocks)}
            | {command.id for command in (*self.releases, *self.cancels)}
            | {*self.settles, *self.wakes, *self.resumes}
        )

    def forget(self, run_id: int) -> None:
        """Take out what was asked on behalf of one run: its earlier command was refused."""
        self.new = [row for row in self.new if (row.parent_id or row.id) != run_id]
        self.seals = [command for command in self.seals if command.id != run_id]
        self.returns = [end for end in self.returns if end.id != run_id]
        self.ends = [end for end in self.ends if end.id != run_id]
        self.siblings = [command for command in self.siblings if command.id != run_id]
        self.pages = [end for end in self.pages if run_id not in (end.id, end.parent_id)]
        self.checkpoints = [command for command in self.checkpoints if command.id != run_id]
        self.folds = [command for command in self.folds if command.id != run_id]
        self.retries = [command for command in self.retries if command.id != run_id]
        self.progress = [command for command in self.progress if command.id != run_id]
        self.evictions = [command for command in self.evictions if command.id != run_id]


class Existing(NamedTuple):
    """The run that already holds the identity of a NewRun."""

    id: int
    digest: int
    state: str


@dataclass(slots=True)
class Outcome:
    """What a committed batch did. Everything that is not named here was refused by its guard."""

    now: int
    # Ends by parent (0: roots), in the order of delivery, and the place of the first of them in that order.
    ended: dict[int, list[End]] = field(default_factory=dict[int, list[End]])
    first_seq: dict[int, int] = field(default_factory=dict[int, int])
    claimed: list[Claimed] = field(default_factory=list[Claimed])
    filled: list[ClaimRequest] = field(default_factory=list[ClaimRequest])  # claims after which there may be more
    # Ids of `new` that were not inserted, with the run that was there, or None where the parent may start nothing.
    refused: dict[int, Existing | None] = field(default_factory=dict[int, "Existing | None"])
    doomed: set[int] = field(default_factory=set[int])  # inserted under a cancel request: not to be started
    blocked: set[int] = field(default_factory=set[int])  # runs that now stand still
    lost: set[int] = field(default_factory=set[int])  # ends and returns refused: the lease is lost
    retried: set[int] = field(default_factory=set[int])  # failed attempts after which another one follows
    returned: set[int] = field(default_factory=set[int])  # bodies that returned and now wait for children
    evicted: set[int] = field(default_factory=set[int])
    woken: bool = False  # something became claimable
    told: set[int] = field(default_factory=set[int])  # ids of events that tell a workflow of its cancel
    asked_roots: set[int] = field(default_factory=set[int])  # roots below which nothing starts any more
    stopping: list[int] = field(default_factory=list[int])  # running tasks that are asked to cancel
    flagged: list[int] = field(default_factory=list[int])  # runs whose cancel request is still to be carried out
    next_timer: int | None = None
