from __future__ import annotations

import pytest

from liveweights.catalog.licences import Duty, Limit
from liveweights.exposure.duties import Figures, judge_duty, list_duties

from .models import SERVED

SMALL = Figures(users_month=120, revenue_month={"USD": 1000.0}, revenue_year={"USD": 9000.0})
LARGE = Figures(users_month=120, revenue_month={"USD": 21e6}, revenue_year={"USD": 30e6})
NOTHING = Figures(users_month=0, revenue_month={}, revenue_year={})
MIXED = Figures(
    users_month=90,
    users_days=7,
    revenue_month={"EUR": 30e6, "USD": 1000.0},
    revenue_year={"EUR": 30e6, "USD": 21e6},
)
MONTHLY = Limit(metric="revenue", op=">", value=20_000_000, unit="USD", period="month")
YEARLY = Limit(metric="revenue", op="<=", value=20_000_000, unit="USD", period="year")
YEARS = Limit(metric="revenue", op=">=", value=20_000_000, unit="USD", period="year")
FEW = Limit(metric="revenue", op="<", value=20_000_000, unit="USD", period="month")
USERS = Limit(metric="monthly_active_users", op=">", value=100)


def duty(*limits: Limit, threshold: str | None = None) -> Duty:
    return Duty(kind="display-name", text="Show the name.", threshold=threshold, limits=limits)


@pytest.mark.parametrize(
    ("one", "figures", "state", "why"),
    [
        (duty(), SMALL, "always", "it has no threshold"),
        (duty(threshold="large firms"), SMALL, "unknown", "in words: large firms"),
        (
            duty(MONTHLY),
            SMALL,
            "not by own figures",
            "revenue 1,000 USD, it asks for > 20,000,000 USD",
        ),
        (duty(MONTHLY), LARGE, "applies", "revenue 21,000,000 USD, it asks for > 20,000,000 USD"),
        (duty(YEARLY), SMALL, "applies", "revenue 9,000 USD, it asks for <= 20,000,000 USD a year"),
        (duty(YEARLY), LARGE, "not by own figures", "revenue 30,000,000 USD"),
        (duty(MONTHLY), NOTHING, "not by own figures", "revenue 0 USD, it asks for"),
        (duty(MONTHLY), MIXED, "unknown", "revenue 30,000,000 EUR and 1,000 USD, it asks for"),
        (duty(YEARLY), MIXED, "not by own figures", "revenue 30,000,000 EUR and 21,000,000 USD"),
        (duty(YEARS), MIXED, "applies", "revenue 30,000,000 EUR and 21,000,000 USD"),
        (duty(FEW), MIXED, "unknown", "revenue 30,000,000 EUR and 1,000 USD"),
        (duty(USERS), MIXED, "unknown", "monthly active users 90 on 7 of 30 days"),
        (duty(USERS, YEARS), MIXED, "applies", "USD a year"),
        (duty(MONTHLY, USERS), SMALL, "applies", "monthly active users 120, it asks for > 100"),
    ],
)
def test_thresholds_are_judged_at_the_services_figures(
    one: Duty, figures: Figures, state: str, why: str
) -> None:
    judged, because = judge_duty(one, figures)
    assert judged == state
    assert why in because


def test_each_duty_is_listed_once_with_all_it_is_about_and_what_applies_comes_first() -> None:
    standings = list_duties(SERVED, LARGE)
    states = [one.state for one in standings]
    assert states == sorted(
        states, key=["applies", "always", "unknown", "not by own figures"].index
    )
    kimi = [one for one in standings if one.origin == "moonshotai/Kimi-K2.5"]
    shown = [one for one in kimi if one.kind == "display-name"]
    assert shown[0].state == "applies"
    assert "Kimi K2.5" in shown[0].text
    assert len({(one.origin, one.kind, one.text) for one in standings}) == len(standings)
    small = [one for one in list_duties(SERVED, SMALL) if one.kind == "display-name"]
    assert {one.state for one in small} == {"not by own figures"}
