from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from liveweights.scoreboard.combination import combine, turn
from liveweights.scoreboard.ranking import Column, rank


def column(model: str, values: list[float]) -> Column:
    return Column(model=model, scores={f"c{i}": value for i, value in enumerate(values)})


def draw(rng: np.random.Generator, rates: list[float], cases: int) -> list[Column]:
    return [
        column(f"m{i}", [float(hit) for hit in rng.random(cases) < rate])
        for i, rate in enumerate(rates)
    ]


def test_a_model_that_is_ahead_has_a_rank_and_a_letter_of_its_own() -> None:
    best, good, alike = [1.0] * 90 + [0.0] * 10, [1.0] * 40 + [0.0] * 60, [0.0] * 60 + [1.0] * 40
    ranking = rank([column("good", good), column("best", best), column("alike", alike)], {})
    assert [(place.model, place.rank, place.tied) for place in ranking.places] == [
        ("best", 1, "a"),
        ("alike", 2, "b"),
        ("good", 2, "b"),
    ]
    assert ranking.places[0].low < 0.9 < ranking.places[0].high
    assert [pair.apart for pair in ranking.pairs] == [True, True, False]
    assert ranking.detectable is not None


def test_cases_of_one_group_count_as_one() -> None:
    columns = [column("a", [1.0] * 40), column("b", [0.0] * 20 + [1.0] * 20)]
    alone = rank(columns, {})
    tied = rank(columns, {f"c{i}": f"g{i // 20}" for i in range(40)})
    assert (alone.pairs[0].apart, tied.pairs[0].apart) == (True, False)


def test_other_cases_are_not_compared() -> None:
    with pytest.raises(ValueError, match="same cases"):
        rank([column("a", [1.0]), column("b", [1.0, 0.0])], {})
    with pytest.raises(ValueError, match="no cases"):
        rank([], {})


def test_one_model_alone_has_an_interval_and_no_pair() -> None:
    ranking = rank([column("a", [1.0, 0.0, 0.5])], {})
    assert (ranking.pairs, ranking.detectable) == ((), None)
    assert 0 <= ranking.places[0].low <= 0.5 <= ranking.places[0].high <= 1


def test_wrong_claims_in_a_whole_table_keep_their_level() -> None:
    """Five models that are equally good: a table of ten pairs names any of them better in at most
    5% of 2,000 tables (four standard errors of chance allowed)."""
    rng = np.random.default_rng(7)
    wrong = sum(
        any(pair.apart for pair in rank(draw(rng, [0.4] * 5, 60), {}).pairs) for _ in range(2000)
    )
    assert wrong / 2000 <= 0.05 + 4 * (0.05 * 0.95 / 2000) ** 0.5


def test_neighbours_at_the_top_are_ties_and_the_last_is_not() -> None:
    """Of a leaderboard of 500 cases with 73, 71, 70 and 40 percent the first three are tied."""
    rng = np.random.default_rng(1)
    difficulty = rng.random(500)
    columns = [
        column(f"m{rate}", [float(hit) for hit in difficulty + rng.normal(0, 0.1, 500) < rate])
        for rate in (0.73, 0.71, 0.70, 0.40)
    ]
    letters = {place.model: place.tied for place in rank(columns, {}).places}
    assert set(letters["m0.73"]) & set(letters["m0.71"]) & set(letters["m0.7"])
    assert not set(letters["m0.4"]) & set(letters["m0.7"])


def test_what_is_detectable_is_found_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(3)
    ranking = rank(draw(rng, [0.5, 0.5], 200), {}, power=0.8)
    assert ranking.detectable is not None
    rates = [0.5 + ranking.detectable / 2, 0.5 - ranking.detectable / 2]
    hits = sum(rank(draw(rng, rates, 200), {}).pairs[0].apart for _ in range(400))
    assert 0.7 <= hits / 400 <= 0.9


def test_suites_of_equal_weight_are_combined() -> None:
    first = rank([column("a", [1.0] * 30 + [0.0] * 30), column("b", [0.0] * 60)], {})
    second = rank([column("a", [0.0] * 20 + [1.0] * 20), column("b", [1.0] * 20 + [0.0] * 20)], {})
    (pair,) = combine([first, second])
    assert (pair.ahead, pair.behind, pair.apart) == ("a", "b", True)
    assert pair.difference.mean == pytest.approx(0.25)
    assert pair.difference.cases == 100
    assert combine([]) == ()


scores = st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=2, max_size=20)


@settings(max_examples=50)
@given(scores, st.data())
def test_the_order_of_models_changes_nothing(first: list[float], data: st.DataObject) -> None:
    second = [data.draw(st.sampled_from([0.0, 1.0])) for _ in first]
    columns = [column("a", first), column("b", second)]
    one, other = rank(columns, {}), rank(columns[::-1], {})
    assert one == other
    back, difference = turn(turn(one.pairs[0].difference)), one.pairs[0].difference
    assert (back.mean, back.low, back.high) == (difference.mean, difference.low, difference.high)
