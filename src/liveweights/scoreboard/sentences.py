"""What a comparison came to, in one sentence that claims no more than it shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from liveweights.gate.statistics import cases_needed
from liveweights.scoreboard.ranking import Ranking, combine, turn
from liveweights.scoreboard.results import ScoreboardError
from liveweights.scoreboard.table import Table

EFFECT = 0.05
"""The difference of mean scores that a tie names the cases for."""
Standing = Literal["better", "worse", "tied"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """``tied``: the two are not told apart."""

    standing: Standing
    sentence: str


def compare(tables: Sequence[Table], model: str, baseline: str, power: float = 0.8) -> Verdict:
    """Whether ``model`` is better than ``baseline`` over the suites that both have finished, each
    of equal weight; of a suite that was asked in several ways, the one with the most cases. Raises
    ScoreboardError where there is none."""
    rankings: dict[str, Ranking] = {}
    for table in tables:
        suite, ranking = table.conditions.suite, table.ranking
        both = ranking and {model, baseline} <= {one.model for one in ranking.places}
        if ranking and both and (suite not in rankings or rankings[suite].cases < ranking.cases):
            rankings[suite] = _only(ranking, model, baseline)
    if not rankings:
        raise ScoreboardError(
            f"there is no suite that both {model} and {baseline} have finished; `liveweights"
            f" scoreboard run --models {model},{baseline}` asks them"
        )
    pairs = combine(list(rankings.values()))
    suites = list(rankings)
    where = " and ".join(filter(None, (", ".join(suites[:-1]), suites[-1])))
    if not pairs:
        sentence = (
            f"On {where} the cases come from one group, so it cannot be said whether {model} is"
            f" better than {baseline}."
        )
        return Verdict("tied", sentence)
    pair = pairs[0]
    ahead = pair.ahead == model
    difference = pair.difference if ahead else turn(pair.difference)
    standing: Standing = "tied"
    more = ""
    if pair.apart:
        standing = "better" if ahead else "worse"
        words = f"{model} is {standing} than {baseline}"
    else:
        words = f"{model} and {baseline} are not told apart"
        needed = cases_needed(pair.difference, EFFECT, power)
        more = f"; a difference of {EFFECT:g} would take about {needed} cases" if needed else ""
    low, high = difference.low or 0.0, difference.high or 0.0
    sentence = (
        f"On {where} ({difference.cases} cases), {words}: {difference.candidate:.3f} against"
        f" {difference.incumbent:.3f}, a difference of {difference.mean:+.3f} [{low:+.3f},"
        f" {high:+.3f}] at {difference.confidence:.0%}{more}."
    )
    return Verdict(standing, sentence)


def _only(ranking: Ranking, one: str, other: str) -> Ranking:
    """The pair alone: nothing else is claimed, so nothing else is corrected for."""
    pairs = tuple(pair for pair in ranking.pairs if {pair.ahead, pair.behind} == {one, other})
    return Ranking(
        places=ranking.places,
        pairs=pairs,
        cases=ranking.cases,
        confidence=ranking.confidence,
        power=ranking.power,
        detectable=None,
    )
