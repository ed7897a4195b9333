"""What a comparison came to, in one sentence that claims no more than it shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from liveweights.gate.statistics import Difference, cases_needed
from liveweights.scoreboard.combination import combine, turn
from liveweights.scoreboard.ranking import Ranking
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
    if model == baseline:
        raise ScoreboardError(f"{model} is compared with itself; name two models")
    rankings: dict[str, Ranking] = {}
    for table in tables:
        suite, ranking = table.conditions.suite, table.ranking
        both = ranking and {model, baseline} <= {one.model for one in ranking.places}
        if ranking and both and (suite not in rankings or rankings[suite].cases < ranking.cases):
            rankings[suite] = ranking
    if not rankings:
        raise ScoreboardError(
            f"there is no suite that both {model} and {baseline} have finished; `liveweights"
            f" scoreboard run --models {model},{baseline}` asks them"
        )
    difference = combine([_difference(one, model, baseline) for one in rankings.values()])
    suites = list(rankings)
    where = " and ".join(filter(None, (", ".join(suites[:-1]), suites[-1])))
    if difference is None or difference.low is None or difference.high is None:
        sentence = (
            f"On {where} the cases come from too few groups to say whether {model} is better than"
            f" {baseline}."
        )
        return Verdict("tied", sentence)
    low, high = difference.low, difference.high
    standing: Standing = "better" if low > 0 else "worse" if high < 0 else "tied"
    words, more = f"{model} is {standing} than {baseline}", ""
    if standing == "tied":
        words = f"{model} and {baseline} are not told apart"
        needed = cases_needed(difference, EFFECT, power)
        more = f"; a difference of {EFFECT:g} would take about {needed} cases" if needed else ""
    sentence = (
        f"On {where} ({difference.cases} cases), {words}: {difference.candidate:.3f} against"
        f" {difference.incumbent:.3f}, a difference of {difference.mean:+.3f} [{low:+.3f},"
        f" {high:+.3f}] at {difference.confidence:.0%}{more}."
    )
    return Verdict(standing, sentence)


def _difference(ranking: Ranking, model: str, baseline: str) -> Difference:
    """Of this pair alone: nothing else is claimed, so nothing else is corrected for."""
    pair = next(pair for pair in ranking.pairs if {pair.ahead, pair.behind} == {model, baseline})
    return pair.difference if pair.ahead == model else turn(pair.difference)
