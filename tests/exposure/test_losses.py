"""What would replace what, computed here once more by hand."""

from __future__ import annotations

import msgspec
import pytest

from liveweights.catalog.cards import Score
from liveweights.catalog.prices import ListedPrice
from liveweights.exposure.facts import Learnt, Served
from liveweights.exposure.losses import Loss, list_losses
from liveweights.exposure.options import Option, compare, compare_scores
from liveweights.exposure.without import parse_without
from liveweights.terms.facts import unknown_facts

from .models import CATALOGUE, SERVED, make_served, make_traffic

PRICE = ListedPrice(provider="host", model="m", input=2.0, output=8.0)
DEARER = ListedPrice(provider="other", model="m", input=3.0, output=8.0)
TRAFFIC = [
    make_traffic("big", answers=60, prompt_tokens=3_000_000, output_tokens=500_000, accepted=20),
    make_traffic("open", answers=30, accepted=80, rejected=20),
    make_traffic("small", answers=10, accepted=30, rejected=70),
    make_traffic("big", day=1, answers=0, prompt_tokens=0, output_tokens=0, rejected=30),
]


def option(alias: str, *prices: ListedPrice) -> Option:
    (model,) = (one for one in SERVED if one.alias == alias)
    return Option(model=model, is_served=True, prices=prices)


def of_catalogue(name: str) -> Option:
    model = make_served(name, name)
    return Option(model=model, is_served=False, prices=CATALOGUE.find(name).prices)


OPTIONS = [
    option("code"),
    option("big", DEARER, PRICE),
    option("open"),
    option("small"),
    of_catalogue("openai/gpt-oss-120b"),
]


def losses(*without: str, denied: dict[str, str] | None = None) -> tuple[Loss, ...]:
    return list_losses(
        OPTIONS,
        [parse_without(one) for one in without],
        TRAFFIC,
        days=15,
        denied_by=(denied or {}).get,
        learnt={"big": Learnt(alias="big", promoted=2, gain=0.1, cycles=3, seconds=5400)},
        reactions={"big": 41},
    )


def test_only_what_is_gone_needs_a_substitute_and_the_surest_comes_first() -> None:
    (loss,) = losses("maker=moonshot")
    assert (loss.alias, loss.because) == ("big", ("maker Moonshot AI",))
    assert loss.answer_share == 0.6
    first, second, third = loss.substitutes
    assert (first.name, second.name) == ("open", "small")
    assert first.accepted is not None
    assert first.accepted.value == pytest.approx(0.8 - 0.4)
    assert first.accepted.low > 0.2
    assert third.accepted is None


def test_costs_are_a_months_at_the_traffic_of_now_and_the_cheapest_price() -> None:
    (loss,) = losses("maker=moonshot")
    by_name = {one.name: one for one in loss.substitutes}
    month = (3_000_000 * 2.0 + 500_000 * 8.0) / 1e6 * 30 / 15
    assert by_name["open"].cost.before == pytest.approx(month) == 20.0
    assert by_name["open"].cost.after is None
    assert by_name["open"].cost.difference is None
    there = compare(OPTIONS[1], OPTIONS[1], TRAFFIC, 15)
    assert there.cost.difference == 0
    assert there.cost.provider == "host"
    assert there.lost == ()


def test_it_says_what_would_have_to_be_learnt_again() -> None:
    (loss,) = losses("maker=moonshot")
    again = loss.relearning
    assert again is not None
    assert (again.reactions, again.cycles, again.hours, again.promoted) == (41, 3, 1.5, 2)
    assert losses("maker=openai")[0].relearning is None


def test_what_the_terms_deny_is_no_substitute_and_is_counted() -> None:
    (loss,) = losses("maker=moonshot", denied={"open": "only-ours", "small": "only-ours"})
    assert loss.removed == {"only-ours": 2}
    assert loss.substitutes[0].name == "code"
    everyone = {one.name: "nobody" for one in OPTIONS}
    (loss,) = losses("maker=moonshot", denied=everyone)
    assert loss.substitutes == ()
    assert loss.removed == {"nobody": 4}


def test_several_things_may_go_at_once() -> None:
    gone = losses("origin=CN", "upstream=api.example")
    assert [one.alias for one in gone] == ["code", "big"]
    assert gone[1].because == ("country CN", "upstream api.example")
    assert losses("country=FR") == ()


def test_scores_compare_only_where_everything_about_them_is_the_same() -> None:
    def score(value: float, **changes: str | None) -> Score:
        given = {"version": "v1", "harness": "h", "setting": "s", **changes}
        return Score(
            benchmark="b",
            value=value,
            unit="%",
            run_by="x",
            source="y",
            **given,  # type: ignore[arg-type]
        )

    card = CATALOGUE.find("openai/gpt-oss-20b")
    one = msgspec.structs.replace(card, scores=(score(50.0),))
    for changes, compared in (
        ({}, 1),
        ({"version": "v2"}, 0),
        ({"harness": "other"}, 0),
        ({"setting": None}, 0),
    ):
        other = msgspec.structs.replace(card, scores=(score(60.0, **changes),))
        assert len(list(compare_scores(one, other))) == compared
    unknown = msgspec.structs.replace(card, scores=(score(50.0, version=None),))
    assert list(compare_scores(unknown, unknown)) == []


def test_without_a_card_nothing_is_said_of_what_is_lost() -> None:
    nobody = Option(model=Served(facts=unknown_facts("mine")), is_served=True)
    (lost,) = compare(nobody, OPTIONS[1], TRAFFIC, 15).lost
    assert "has no card" in lost
    assert any("context" in one for one in compare(OPTIONS[3], OPTIONS[1], TRAFFIC, 15).lost)
