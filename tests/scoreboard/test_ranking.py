from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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
    assert (alone.groups, alone.least_p) == (40, 0.0)
    assert (tied.groups, tied.least_p, tied.detectable) == (2, 0.5, None)


def test_groups_that_tell_two_models_apart_may_be_too_few_for_many() -> None:
    """Of eight groups the smallest p-value is 2 / 2^8: too large for Holm's first of ten pairs."""
    groups = {f"c{i}": f"g{i // 10}" for i in range(80)}
    columns = [column(f"m{i}", [1.0] * 80 if i == 0 else [0.0] * 80) for i in range(5)]
    two, five = rank(columns[:2], groups), rank(columns, groups)
    assert (two.places[1].rank, two.least_p <= 0.05) == (2, True)
    assert ({place.rank for place in five.places}, five.least_p > 0.05) == ({1}, True)
    assert five.detectable is None


def test_groups_in_any_order_give_the_same_table() -> None:
    rng = np.random.default_rng(5)
    columns = draw(rng, [0.4, 0.5], 120)
    groups = {f"c{i}": f"g{i % 30}" for i in range(120)}
    mixed = [
        Column(model=one.model, scores=dict(sorted(one.scores.items(), reverse=True)))
        for one in columns
    ]
    assert rank(mixed, dict(reversed(groups.items()))) == rank(columns, groups)


def test_other_cases_are_not_compared() -> None:
    with pytest.raises(ValueError, match="same cases"):
        rank([column("a", [1.0]), column("b", [1.0, 0.0])], {})
    with pytest.raises(ValueError, match="no cases"):
        rank([], {})


def test_one_model_alone_has_an_interval_and_no_pair() -> None:
    ranking = rank([column("a", [1.0, 0.0, 0.5])], {})
    assert (ranking.pairs, ranking.detectable) == ((), None)
    assert 0 <= ranking.places[0].low <= 0.5 <= ranking.places[0].high <= 1


@pytest.mark.parametrize("score", [0.0, 1.0, 1 / 3])
@pytest.mark.parametrize("size", [1, 4])
def test_scores_without_spread_have_an_interval(score: float, size: int) -> None:
    groups = {f"c{i}": f"g{i // size}" for i in range(40)}
    (place,) = rank([column("a", [score] * 40)], groups).places
    assert place.low <= place.score <= place.high
    assert place.high - place.low > 0.08
    if size == 4:
        assert place.high - place.low > 0.27  # of ten groups


@given(st.lists(st.integers(0, 3), min_size=8, max_size=24), st.integers(1, 3))
@settings(max_examples=50)
def test_a_score_is_within_its_interval(thirds: list[int], size: int) -> None:
    groups = {f"c{i}": f"g{i // size}" for i in range(len(thirds))}
    (place,) = rank([column("a", [one / 3 for one in thirds])], groups).places
    assert 0 <= place.low <= place.score <= place.high <= 1
    assert place.low < place.high


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


scores = st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=2, max_size=20)


@settings(max_examples=50)
@given(scores, st.data())
def test_the_order_of_models_changes_nothing(first: list[float], data: st.DataObject) -> None:
    second = [data.draw(st.sampled_from([0.0, 1.0])) for _ in first]
    columns = [column("a", first), column("b", second)]
    one, other = rank(columns, {}), rank(columns[::-1], {})
    assert one == other
