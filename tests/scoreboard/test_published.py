"""The top of a public leaderboard, by instance: who is ahead there, and who is tied."""

from __future__ import annotations

from collections import Counter

import pytest
from tests.scoreboard.submissions import Submission, read_published, to_results

from liveweights.scoreboard.imports import parse_results
from liveweights.scoreboard.ranking import Column, rank

PUBLISHED = read_published()
NAMES = [one.name for one in PUBLISHED.submissions]
TOP, LAST = NAMES[:9], NAMES[-1]
RESULTS = {one.name: parse_results(to_results(PUBLISHED, one)) for one in PUBLISHED.submissions}
COLUMNS = [
    Column(model=name, scores={result.case: result.score for result in results})
    for name, results in RESULTS.items()
]
REPOSITORIES = {result.case: result.group or "" for result in RESULTS[LAST]}


@pytest.mark.parametrize("submission", PUBLISHED.submissions, ids=lambda one: one.name)
def test_a_rate_is_the_one_that_was_published(submission: Submission) -> None:
    results = RESULTS[submission.name]
    assert len(results) == 500
    assert round(100 * sum(one.score for one in results) / 500, 1) == submission.published


@pytest.mark.parametrize(("one", "other", "first", "second"), PUBLISHED.disagreements)
def test_disagreements_are_those_that_were_published(
    one: str, other: str, first: int, second: int
) -> None:
    pairs = [(a.score, b.score) for a, b in zip(RESULTS[one], RESULTS[other], strict=True)]
    assert (pairs.count((1.0, 0.0)), pairs.count((0.0, 1.0))) == (first, second)


@pytest.mark.parametrize(("name", "counts"), PUBLISHED.by_repository.items())
def test_counts_by_repository_are_those_that_were_published(
    name: str, counts: tuple[int, ...]
) -> None:
    solved = Counter(one.group for one in RESULTS[name] if one.score)
    assert tuple(solved[group] for group in sorted(set(REPOSITORIES.values()))) == counts


@pytest.mark.parametrize("groups", [REPOSITORIES, {}], ids=["by repository", "each instance alone"])
def test_neighbours_at_the_top_are_ties_and_the_last_is_not(groups: dict[str, str]) -> None:
    """Sorted by rate, the nine have seven places and there is an order of merit from 79.2 to 75.6
    percent; none of their 36 pairs is told apart."""
    ranking = rank(COLUMNS, groups)
    places = {place.model: place for place in ranking.places}
    assert len({places[name].score for name in TOP}) == 7
    assert [place.model for place in ranking.places][:9] == TOP
    assert {places[name].rank for name in TOP} == {1}
    assert all("a" in places[name].tied for name in TOP)
    assert not any(pair.apart for pair in ranking.pairs if {pair.ahead, pair.behind} <= set(TOP))
    assert all(pair.apart for pair in ranking.pairs if pair.behind == LAST)
    assert places[LAST].rank == len(NAMES)
    assert not set(places[LAST].tied) & {letter for name in TOP for letter in places[name].tied}
