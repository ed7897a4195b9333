from __future__ import annotations

import datetime
from itertools import groupby
from pathlib import Path

import pytest
from hypothesis import given
from tests.exposure.models import SERVED, START, make_traffic, traffic

from liveweights.adoption.own import Made, list_weeks
from liveweights.adoption.plot import draw_weeks
from liveweights.exposure.facts import Traffic

COUNTRIES = {
    **dict.fromkeys(["code", "chat", "big", "far"], "CN"),
    **dict.fromkeys(["small", "open"], "US"),
    "gone": "unknown",
}


@given(traffic)
def test_weeks_are_what_a_plain_count_gives(rows: list[Traffic]) -> None:
    weeks = list_weeks(SERVED, rows, [], "country")
    for one in weeks:
        assert one.week.weekday() == 0
        last = one.week + datetime.timedelta(days=6)
        own = [x for x in rows if COUNTRIES[x.alias] == one.value and one.week <= x.day <= last]
        assert one.answers == sum(x.answers for x in own)
        assert one.tokens == sum(x.prompt_tokens + x.output_tokens for x in own)
        for currency in ("EUR", "USD"):
            revenue = sum(x.revenue.get(currency, 0) for x in own) / 1e9
            assert one.revenue.get(currency, 0) == pytest.approx(revenue)
    for _, group in groupby(weeks, key=lambda one: one.week):
        values = list(group)
        whole = sum(one.answers for one in values)
        assert sum(one.answer_share for one in values) == pytest.approx(1 if whole else 0)
        for currency in values[0].revenue_share:
            assert sum(one.revenue_share[currency] for one in values) == pytest.approx(1)


def test_checkpoints_count_for_whose_base_they_stand_on() -> None:
    made = [Made("code", START, 2), Made("chat", START, 1), Made("open", START, 1)]
    weeks = {one.value: one for one in list_weeks(SERVED, [], made, "maker")}
    assert weeks["Alibaba (Qwen)"].checkpoints == 3
    assert weeks["OpenAI"].checkpoints == 1
    assert weeks["OpenAI"].answer_share == 0


def test_shares_are_drawn_and_the_same_weeks_make_the_same_picture(tmp_path: Path) -> None:
    rows = [make_traffic("code", day=day, answers=10 + day) for day in (0, 8, 15)]
    rows += [make_traffic("open", day=8)]
    weeks = list_weeks(SERVED, rows, [], "maker")
    for name in ("one.svg", "two.svg"):
        draw_weeks(weeks, "answer_share", tmp_path / name)
    picture = (tmp_path / "one.svg").read_text()
    assert "<svg" in picture
    assert picture == (tmp_path / "two.svg").read_text()
    draw_weeks([], "answer_share", tmp_path / "none.svg")
    with pytest.raises(ValueError, match="not supported"):
        draw_weeks(weeks, "answer_share", tmp_path / "one.txt")
