from __future__ import annotations

import datetime
from dataclasses import replace

import pytest
from hypothesis import given

from liveweights.exposure.facts import DIMENSIONS, Dimension, Key, Learnt, Traffic
from liveweights.exposure.shares import list_concentrations, list_shares

from .models import SERVED, START, make_served, make_traffic, tenants, traffic

MAKERS = {
    "code": "Alibaba (Qwen)",
    "chat": "Alibaba (Qwen)",
    "big": "Moonshot AI",
    "small": "Hugging Face",
    "open": "OpenAI",
    "far": "Moonshot AI",
    "gone": "unknown",
}


@given(traffic, tenants)
def test_shares_by_maker_are_what_a_plain_count_gives(
    rows: list[Traffic], asked: dict[Key, set[str]]
) -> None:
    shares = {one.value: one for one in list_shares(SERVED, rows, [], "maker", tenants=asked)}
    assert set(MAKERS.values()) - {"unknown"} <= set(shares)
    whole = sum(one.answers for one in rows)
    for maker, share in shares.items():
        own = [one for one in rows if MAKERS[one.alias] == maker]
        assert share.answers == sum(one.answers for one in own)
        assert share.tokens == sum(one.prompt_tokens + one.output_tokens for one in own)
        for currency in ("EUR", "USD"):
            ours, all_ = (sum(one.revenue.get(currency, 0) for one in some) for some in (own, rows))
            assert share.revenue.get(currency, 0) == pytest.approx(ours / 1e9)
            assert share.revenue_share.get(currency) == (ours / all_ if all_ else None)
        known = [names for (alias, _), names in asked.items() if MAKERS[alias] == maker]
        assert share.tenants == tuple(sorted({name for names in known for name in names}))
        assert share.answer_share == (share.answers / whole if whole else 0)


@given(traffic)
def test_concentration_is_between_an_equal_share_and_one(rows: list[Traffic]) -> None:
    for week in list_concentrations(SERVED, rows, "country"):
        assert week.week.weekday() == 0
        assert 1 / len(MAKERS) <= week.index <= 1 + 1e-12
        assert week.share**2 <= week.index + 1e-12
        assert week.index <= week.share + 1e-12  # the largest times all shares together


def test_a_derived_model_depends_on_both_and_concentrates_on_its_own_maker() -> None:
    served = [*SERVED, make_served("tiny", "prism-ml/Bonsai-8B-gguf")]
    rows = [make_traffic("tiny", answers=30), make_traffic("code", answers=10)]
    shares = {one.value: one for one in list_shares(served, rows, [], "maker", tenants={})}
    assert shares["PrismML"].answer_share == 0.75
    assert shares["Alibaba (Qwen)"].answer_share == 1
    assert shares["Alibaba (Qwen)"].aliases == ("chat", "code", "tiny")
    families = {one.value: one for one in list_shares(served, rows, [], "family", tenants={})}
    assert (families["Bonsai"].answer_share, families["Qwen3"].answer_share) == (0.75, 1)
    (week,) = list_concentrations(served, rows, "maker")
    assert week.week == START - datetime.timedelta(days=START.weekday())
    assert (week.index, week.largest, week.share) == (0.75**2 + 0.25**2, "PrismML", 0.75)


def test_an_alias_counts_for_each_base_that_it_stood_on() -> None:
    now = replace(make_served("code", "openai/gpt-oss-20b"), base="new")
    former = replace(make_served("code", "Qwen/Qwen3-8B"), base="old")
    rows = [
        make_traffic("code", base="new", answers=10),
        make_traffic("code", base="old", answers=30),
        make_traffic("code", base="older", answers=60),
    ]
    learnt = [Learnt(alias="code", promoted=1, gain=0.1, cycles=2, seconds=9, base="new")]
    asked = {("code", "new"): ["acme"], ("code", "old"): ["acme", "beta"]}
    shares = {
        one.value: one for one in list_shares([now, former], rows, learnt, "maker", tenants=asked)
    }
    assert {name: one.answers for name, one in shares.items()} == {
        "OpenAI": 10,
        "Alibaba (Qwen)": 30,
        "unknown": 60,
    }
    assert [one.promoted for one in shares.values()] == [0, 0, 1]
    assert [one.tenants for one in shares.values()] == [(), ("acme", "beta"), ("acme",)]
    (week,) = list_concentrations([now, former], rows, "maker")
    assert (week.largest, week.share) == ("unknown", 0.6)


def test_what_was_learnt_counts_where_it_was_learnt() -> None:
    learnt = [
        Learnt(alias="code", promoted=3, gain=0.2, cycles=5, seconds=100),
        Learnt(alias="chat", promoted=1, gain=-0.05, cycles=1, seconds=10),
        Learnt(alias="small", promoted=2, gain=0.1, cycles=2, seconds=20),
    ]
    shares = {one.value: one for one in list_shares(SERVED, [], learnt, "maker", tenants={})}
    assert shares["Alibaba (Qwen)"].promoted == 4
    assert shares["Alibaba (Qwen)"].gain == pytest.approx(0.15)
    assert shares["Moonshot AI"].promoted == 0


@pytest.mark.parametrize("dimension", DIMENSIONS)
def test_every_alias_is_somewhere(dimension: Dimension) -> None:
    shares = list_shares(SERVED, [make_traffic("gone")], [], dimension, tenants={})
    assert {alias for one in shares for alias in one.aliases} == set(MAKERS)


def test_without_traffic_there_is_no_week() -> None:
    assert list_concentrations(SERVED, [make_traffic("code", answers=0)], "maker") == ()
