from __future__ import annotations

import pytest
from tests.scoreboard.examples import scored

from liveweights.scoreboard.results import ScoreboardError
from liveweights.scoreboard.sentences import compare
from liveweights.scoreboard.table import make_tables

GOOD, BAD = [1.0] * 30 + [0.0] * 10, [0.0] * 40


def test_who_is_better_is_said_with_numbers() -> None:
    tables = make_tables([scored("a", GOOD), scored("b", BAD), scored("c", BAD)])
    verdict = compare(tables, "a", "b")
    assert verdict.standing == "better"
    assert verdict.sentence.startswith(
        "On letters (40 cases), a is better than b: 0.750 against 0.000, a difference of +0.750 ["
    )
    other = compare(tables, "b", "a")
    assert (other.standing, "b is worse than a: 0.000 against 0.750" in other.sentence) == (
        "worse",
        True,
    )


def test_a_tie_is_called_one_with_what_it_would_take() -> None:
    tables = make_tables([scored("a", [1.0, 0.0] * 20), scored("b", [0.0, 1.0] * 20)])
    verdict = compare(tables, "a", "b")
    assert verdict.standing == "tied"
    assert "a and b are not told apart" in verdict.sentence
    assert "a difference of 0.05 would take about" in verdict.sentence


def test_suites_are_named_and_the_largest_of_each_counts() -> None:
    tables = make_tables(
        [
            *(scored(name, scores[:10], suite="x") for name, scores in (("a", BAD), ("b", GOOD))),
            *(scored(name, scores, suite="x") for name, scores in (("a", GOOD), ("b", BAD))),
            *(scored(name, scores, suite="y") for name, scores in (("a", GOOD), ("b", BAD))),
        ]
    )
    assert compare(tables, "a", "b").sentence.startswith("On x and y (80 cases), a is better")


def test_what_both_have_not_finished_is_refused() -> None:
    with pytest.raises(ScoreboardError, match="run --models a,b"):
        compare(make_tables([scored("a", GOOD), scored("b", BAD, suite="other")]), "a", "b")


def test_too_few_groups_are_named() -> None:
    tables = make_tables([scored("a", GOOD, group="g"), scored("b", BAD, group="g")])
    verdict = compare(tables, "a", "b")
    assert (
        verdict.standing,
        "too few groups to say whether a is better than b" in verdict.sentence,
    ) == (
        "tied",
        True,
    )


def test_nothing_is_compared_with_itself() -> None:
    with pytest.raises(ScoreboardError, match="compared with itself"):
        compare(make_tables([scored("a", GOOD)]), "a", "a")
