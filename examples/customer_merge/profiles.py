"""What the merge knows about a customer and what it returns. Data only; no rules, no files."""

from dataclasses import dataclass, field
from enum import StrEnum


class PaymentStatus(StrEnum):
    """What billing says about a customer, spelled as in a clean export."""

    ACTIVE = "Active"
    TRIAL = "Trial"
    PAST_DUE = "Past Due"
    CANCELLED = "Cancelled"
    UNKNOWN = "Unknown"


class Level(StrEnum):
    """How high a churn risk or an expansion potential is."""

    LOW = "LOW"
    MEDIUM = "MEDIUM"
    HIGH = "HIGH"


@dataclass(slots=True)
class Customer:
    """The facts of one customer, merged from the sources. None is a fact that no source told."""

    customer_id: str
    company: str | None = None
    email: str | None = None
    plan: str | None = None
    monthly_revenue_cents: int | None = None
    payment_status: PaymentStatus = PaymentStatus.UNKNOWN
    seats: int | None = None
    active_users: int | None = None
    adoption_percent: int | None = None
    days_since_login: int | None = None
    open_tickets: int = 0
    urgent_tickets: int = 0
    rated_tickets: int = 0
    stars_total: int = 0
    sources: list[str] = field(default_factory=list[str])


@dataclass(frozen=True, slots=True)
class Profile:
    """An enriched customer. `health_score` is 0 to 100; a whole number, so that sums are exact in any order."""

    customer_id: str
    company: str | None
    email: str | None
    plan: str | None
    monthly_revenue_cents: int | None
    payment_status: PaymentStatus
    seats: int | None
    active_users: int | None
    open_tickets: int
    sources: list[str]
    health_score: int
    churn_risk: Level
    expansion_potential: Level


@dataclass(frozen=True, slots=True)
class ShardResult:
    """What a shard hands back: a few hundred bytes, however many customers it holds. Never the profiles."""

    shard_id: int
    count: int
    score_total: int
    churn_counts: dict[Level, int]
    sample: Profile | None


@dataclass(frozen=True, slots=True)
class Statistics:
    """`avg_health_score` has one decimal and is 0.0 for no customers; every level is in `churn_distribution`."""

    avg_health_score: float
    churn_distribution: dict[Level, int]


@dataclass(frozen=True, slots=True)
class Summary:
    """The result of the whole job. `sample_profile` is the customer with the smallest id."""

    profiles_generated: int
    shards_processed: int
    sample_profile: Profile | None
    statistics: Statistics
