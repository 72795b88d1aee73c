"""The scoring rules of the customer merge, at both sides of every edge in its README."""

import pytest

from examples.customer_merge.cells import read_cents, read_customer_id, read_payment_status, read_percent, read_whole
from examples.customer_merge.enrichment import (
    adoption_points,
    churn_risk,
    enrich,
    expansion_potential,
    health_score,
    login_points,
    seat_points,
    support_points,
)
from examples.customer_merge.profiles import Customer, Level, PaymentStatus


def customer(**facts):
    """Make a customer whose score is the starting 60: nothing known, but a login that counts neither way."""
    return Customer("C-1", **({"days_since_login": 30} | facts))


def star(**facts):
    """Make the best customer there is; every rule gives its most."""
    best = {"days_since_login": 0, "seats": 10, "active_users": 10, "adoption_percent": 100, "plan": "pro"}
    best |= {"payment_status": PaymentStatus.ACTIVE, "rated_tickets": 1, "stars_total": 5}
    return customer(**(best | facts))


@pytest.mark.parametrize(
    ("status", "score"),
    [
        (PaymentStatus.ACTIVE, 75),
        (PaymentStatus.TRIAL, 60),
        (PaymentStatus.UNKNOWN, 60),
        (PaymentStatus.PAST_DUE, 40),
        (PaymentStatus.CANCELLED, 15),
    ],
)
def test_the_payment_status_moves_the_score_from_sixty(status, score):
    assert health_score(customer(payment_status=status)) == score


@pytest.mark.parametrize(
    ("days", "points"), [(0, 15), (7, 15), (8, 0), (30, 0), (31, -15), (90, -15), (91, -30), (None, -10)]
)
def test_a_login_counts_by_its_age_in_days(days, points):
    assert login_points(days) == points


@pytest.mark.parametrize(
    ("seats", "users", "points"),
    [
        (1000, 800, 10),
        (1000, 799, 0),
        (1000, 400, 0),
        (1000, 399, -10),
        (3, 3, 10),
        (3, 4, 10),
        (5, 0, -10),
        (0, 5, 0),
        (None, 5, 0),
        (5, None, 0),
    ],
)
def test_seats_in_use_count_at_eighty_and_forty_percent(seats, users, points):
    assert seat_points(customer(seats=seats, active_users=users)) == points


@pytest.mark.parametrize(("percent", "points"), [(100, 10), (60, 10), (59, 0), (20, 0), (19, -10), (0, -10), (None, 0)])
def test_adoption_counts_at_sixty_and_twenty_percent(percent, points):
    assert adoption_points(percent) == points


@pytest.mark.parametrize(
    ("is_open", "urgent", "points"),
    [(0, 0, 0), (1, 0, -3), (4, 0, -12), (5, 0, -15), (6, 0, -15), (1, 1, -8), (3, 3, -24), (4, 4, -27), (90, 90, -30)],
)
def test_open_and_urgent_tickets_cost_at_most_fifteen_points_each(is_open, urgent, points):
    assert support_points(customer(open_tickets=is_open, urgent_tickets=urgent)) == points


@pytest.mark.parametrize(
    ("rated", "stars", "points"), [(1, 4, 5), (100, 400, 5), (100, 399, 0), (2, 5, 0), (100, 249, -10), (1, 1, -10)]
)
def test_the_mean_rating_counts_at_four_and_two_and_a_half_stars(rated, stars, points):
    assert support_points(customer(rated_tickets=rated, stars_total=stars)) == points


def test_the_score_stops_at_one_hundred():
    assert health_score(star()) == 100


def test_the_score_stops_at_zero():
    lost = customer(payment_status=PaymentStatus.CANCELLED, days_since_login=91, seats=10, active_users=0)
    assert health_score(lost) == 0


@pytest.mark.parametrize(
    ("score", "risk"), [(0, Level.HIGH), (39, Level.HIGH), (40, Level.MEDIUM), (69, Level.MEDIUM), (70, Level.LOW)]
)
@pytest.mark.parametrize("status", [PaymentStatus.ACTIVE, PaymentStatus.TRIAL, PaymentStatus.UNKNOWN])
def test_churn_risk_changes_at_forty_and_seventy(score, risk, status):
    assert churn_risk(score, status) is risk


@pytest.mark.parametrize(
    ("score", "risk"), [(39, Level.HIGH), (40, Level.MEDIUM), (70, Level.MEDIUM), (100, Level.MEDIUM)]
)
def test_past_due_is_never_a_low_risk(score, risk):
    assert churn_risk(score, PaymentStatus.PAST_DUE) is risk


def test_cancelled_is_always_a_high_risk():
    assert churn_risk(100, PaymentStatus.CANCELLED) is Level.HIGH


@pytest.mark.parametrize(
    ("users", "adoption", "potential"),
    [
        (900, None, Level.HIGH),
        (899, None, Level.MEDIUM),
        (700, None, Level.MEDIUM),
        (699, None, Level.LOW),
        (699, 60, Level.MEDIUM),
        (699, 59, Level.LOW),
        (None, 60, Level.MEDIUM),
        (None, None, Level.LOW),
    ],
)
def test_expansion_potential_follows_the_seats_in_use_and_adoption(users, adoption, potential):
    used = customer(seats=1000, active_users=users, adoption_percent=adoption, plan="pro")
    assert expansion_potential(used, Level.LOW) is potential


def test_the_largest_plan_cannot_grow_into_another():
    assert expansion_potential(star(plan="enterprise"), Level.LOW) is Level.MEDIUM


def test_a_medium_risk_has_no_high_potential():
    assert expansion_potential(star(), Level.MEDIUM) is Level.MEDIUM


def test_nothing_is_sold_to_a_high_risk():
    assert expansion_potential(star(), Level.HIGH) is Level.LOW


def test_past_due_lowers_the_best_customer_to_a_medium_risk_without_potential():
    profile = enrich(star(payment_status=PaymentStatus.PAST_DUE))
    # 60 - 20 + 15 + 10 + 10 + 5
    assert (profile.health_score, profile.churn_risk, profile.expansion_potential) == (80, Level.MEDIUM, Level.LOW)


def test_a_customer_of_whom_nothing_is_known_still_gets_a_profile():
    profile = enrich(Customer("C-1"))
    assert (profile.health_score, profile.churn_risk, profile.expansion_potential) == (50, Level.MEDIUM, Level.LOW)


@pytest.mark.parametrize(
    "cell", ["Past Due", "past due", "PAST DUE", "  Past  Due ", "PAST_DUE", "Past-Due", "PastDue", "overdue"]
)
def test_past_due_is_read_in_every_spelling(cell):
    assert read_payment_status(cell) is PaymentStatus.PAST_DUE


@pytest.mark.parametrize(
    ("cell", "status"),
    [
        ("active ", PaymentStatus.ACTIVE),
        ("Trial", PaymentStatus.TRIAL),
        ("canceled", PaymentStatus.CANCELLED),
        ("CANCELLED", PaymentStatus.CANCELLED),
        ("on hold", PaymentStatus.UNKNOWN),
        ("", None),
        ("   ", None),
    ],
)
def test_other_payment_statuses_are_read_or_unknown_or_blank(cell, status):
    assert read_payment_status(cell) is status


@pytest.mark.parametrize(
    ("cell", "number"),
    [
        ("0", 0),
        (" 12 ", 12),
        ("1,200", 1200),
        ("35%", 35),
        ("12.0", 12),
        ("9" * 12, 999_999_999_999),
        ("9" * 13, None),
        ("", None),
        ("n/a", None),
        ("-3", None),
        ("12.5", None),
        ("nan", None),
        ("1e9", None),
    ],
)
def test_a_whole_number_is_read_or_not_known(cell, number):
    assert read_whole(cell) == number


@pytest.mark.parametrize(("cell", "percent"), [("100", 100), ("101", None), ("0 %", 0), ("", None)])
def test_a_percentage_ends_at_one_hundred(cell, percent):
    assert read_percent(cell) == percent


@pytest.mark.parametrize(
    ("cell", "cents"),
    [("49", 4900), ("49.5", 4950), ("$1,200.05", 120005), (" $ 3 ", 300), ("0", 0), ("free", None), ("", None)],
)
def test_an_amount_is_read_in_cents(cell, cents):
    assert read_cents(cell) == cents


@pytest.mark.parametrize(
    ("cell", "customer_id"), [(" c-0000017 ", "C-0000017"), ("C-1", "C-1"), ("", None), ("  ", None)]
)
def test_customer_ids_join_whatever_their_case_and_blanks(cell, customer_id):
    assert read_customer_id(cell) == customer_id
