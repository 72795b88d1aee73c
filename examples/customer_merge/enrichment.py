"""The rules that turn a merged customer into a profile. Pure; whole numbers only; the README has them as tables."""

from examples.customer_merge.profiles import Customer, Level, PaymentStatus, Profile

START_SCORE = 60
HIGH_RISK_BELOW = 40
MEDIUM_RISK_BELOW = 70
LARGEST_PLAN = "enterprise"

_PAYMENT_POINTS = {
    PaymentStatus.ACTIVE: 15,
    PaymentStatus.TRIAL: 0,
    PaymentStatus.UNKNOWN: 0,
    PaymentStatus.PAST_DUE: -20,
    PaymentStatus.CANCELLED: -45,
}


def login_points(days_since_login: int | None) -> int:
    """Points for the days since anyone of the customer logged in; not known counts against it."""
    if days_since_login is None:
        return -10
    if days_since_login <= 7:
        return 15
    if days_since_login <= 30:
        return 0
    return -15 if days_since_login <= 90 else -30


def seats_used_at_least(customer: Customer, percent: int) -> bool:
    """Tell whether this share of the seats is in use; False if it is not known. Multiplied out, so no rounding."""
    if not customer.seats or customer.active_users is None:
        return False
    return customer.active_users * 100 >= customer.seats * percent


def seat_points(customer: Customer) -> int:
    """Points for the share of seats in use; none if seats or users are not known, or there are no seats."""
    if not customer.seats or customer.active_users is None:
        return 0
    if seats_used_at_least(customer, 80):
        return 10
    return 0 if seats_used_at_least(customer, 40) else -10


def adoption_points(adoption_percent: int | None) -> int:
    """Points for the share of features in use; none if it is not known."""
    if adoption_percent is None:
        return 0
    if adoption_percent >= 60:
        return 10
    return 0 if adoption_percent >= 20 else -10


def support_points(customer: Customer) -> int:
    """Points for open tickets, urgent ones among them, and the mean rating in stars, 1 to 5."""
    points = -min(3 * customer.open_tickets, 15) - min(5 * customer.urgent_tickets, 15)
    if customer.rated_tickets:
        # Twice the mean, so that both limits, 4.0 and 2.5 stars, are whole.
        if 2 * customer.stars_total >= 8 * customer.rated_tickets:
            points += 5
        elif 2 * customer.stars_total < 5 * customer.rated_tickets:
            points -= 10
    return points


def health_score(customer: Customer) -> int:
    """Add up the points and return the score, 0 to 100."""
    score = (
        START_SCORE
        + _PAYMENT_POINTS[customer.payment_status]
        + login_points(customer.days_since_login)
        + seat_points(customer)
        + adoption_points(customer.adoption_percent)
        + support_points(customer)
    )
    return max(0, min(100, score))


def churn_risk(score: int, status: PaymentStatus) -> Level:
    """Return the risk of losing the customer. Who does not pay is never LOW, however much it uses the product."""
    if status is PaymentStatus.CANCELLED or score < HIGH_RISK_BELOW:
        return Level.HIGH
    if status is PaymentStatus.PAST_DUE or score < MEDIUM_RISK_BELOW:
        return Level.MEDIUM
    return Level.LOW


def expansion_potential(customer: Customer, risk: Level) -> Level:
    """Return the chance of selling more. Nothing is sold to who is leaving or has bills to pay."""
    if risk is Level.HIGH or customer.payment_status is PaymentStatus.PAST_DUE:
        return Level.LOW
    if risk is Level.LOW and customer.plan != LARGEST_PLAN and seats_used_at_least(customer, 90):
        return Level.HIGH
    adopted = customer.adoption_percent is not None and customer.adoption_percent >= 60
    return Level.MEDIUM if adopted or seats_used_at_least(customer, 70) else Level.LOW


def enrich(customer: Customer) -> Profile:
    """Return the profile of a merged customer."""
    score = health_score(customer)
    risk = churn_risk(score, customer.payment_status)
    return Profile(
        customer_id=customer.customer_id,
        company=customer.company,
        email=customer.email,
        plan=customer.plan,
        monthly_revenue_cents=customer.monthly_revenue_cents,
        payment_status=customer.payment_status,
        seats=customer.seats,
        active_users=customer.active_users,
        open_tickets=customer.open_tickets,
        sources=list(customer.sources),
        health_score=score,
        churn_risk=risk,
        expansion_potential=expansion_potential(customer, risk),
    )
