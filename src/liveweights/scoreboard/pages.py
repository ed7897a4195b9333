"""Tables as texts: rows for terminals and CSV, and Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from liveweights.meter.money import NANOS
from liveweights.scoreboard.results import OWN
from liveweights.scoreboard.table import Cost, Table

COLUMNS = (
    *("suite", "rank", "model", "score", "low", "high", "tied", "cases", "seconds", "tokens"),
    *("cost", "per_solved", "currency", "checkpoint", "source"),
)


def rows(tables: Iterable[Table]) -> list[dict[str, object]]:
    """A row for each model of each table, as `COLUMNS` names its cells; scores with three decimals.
    ``cost`` is of a task, ``per_solved`` of a solved one, in units of ``currency``."""
    listed: list[dict[str, object]] = []
    for table in tables:
        costs = {one.model: one for one in table.costs}
        for place in table.ranking.places if table.ranking else ():
            listed.append(
                {
                    "suite": table.conditions.suite,
                    "rank": place.rank,
                    "model": place.model,
                    "score": f"{place.score:.3f}",
                    "low": f"{place.low:.3f}",
                    "high": f"{place.high:.3f}",
                    "tied": place.tied,
                    "cases": table.ranking.cases if table.ranking else 0,
                    "source": table.conditions.source,
                    **_cost(costs[place.model]),
                }
            )
    return listed


def notes(table: Table) -> list[str]:
    """What a reader of a table has to know, a sentence each."""
    conditions, ranking = table.conditions, table.ranking
    said = [
        f"{conditions.suite} {conditions.version}: {conditions.cases} cases, {conditions.harness},"
        f" k = {conditions.samples}, {conditions.seconds:g} s at most, seed {conditions.seed},"
        f" asked by {conditions.runner}."
        if conditions.source == OWN
        else f"{conditions.suite} {conditions.version}: {conditions.cases} cases,"
        f" {conditions.harness}, as published by {conditions.source}."
    ]
    if ranking and len(ranking.places) > 1:
        said.append(
            f"Models that share a letter are not told apart at {ranking.confidence:.0%} (all pairs,"
            " Holm); a rank counts the models that are shown to be ahead."
        )
    if ranking and ranking.least_p > 1 - ranking.confidence:
        said.append(
            f"No two of {len(ranking.places)} models can be told apart, whatever they score: the"
            f" smallest p-value that cases of so few groups ({ranking.groups}) allow is"
            f" {ranking.least_p:.2g}."
        )
    if ranking and ranking.detectable is not None:
        said.append(
            f"A true difference of {ranking.detectable:.3f} between any two of them would be found"
            f" {ranking.power:.0%} of the time or more often."
        )
    machines: dict[str, list[str]] = {}
    for one in table.costs:
        machines.setdefault(one.hardware, []).append(one.model)
    if len(machines) > 1:
        told = "; ".join(f"{', '.join(models)} on {what}" for what, models in machines.items())
        said.append(f"Seconds are of different hardware and do not compare: {told}.")
    for noise in table.noise:
        low, high = noise.difference.low, noise.difference.high
        ends = "" if low is None or high is None else f" [{low:+.3f}, {high:+.3f}]"
        said.append(
            f"{noise.model} a second time, with other seeds: {noise.difference.mean:+.3f}{ends},"
            f" {noise.changed:.0%} of the cases ended otherwise."
        )
    for one in table.former:
        said.append(
            f"{one.model} answers with {one.live} now; the score is of {one.checkpoint}, the last"
            " that was asked these cases."
        )
    for one in table.open:
        if one.refusal and one.attempts == one.planned:
            said.append(
                f"{one.model} is not ranked: every case was {one.refusal}; `liveweights scoreboard"
                f" remove {one.run}` lets it be asked again."
            )
        else:
            said.append(
                f"{one.model} is not ranked: {one.attempts} of {one.planned} attempts are done; the"
                " same `scoreboard run` goes on."
            )
    return said


def to_markdown(tables: Sequence[Table]) -> str:
    """A heading, a table and its notes for each suite."""
    parts: list[str] = []
    for table in tables:
        parts.append(f"## {table.conditions.suite}\n")
        listed = rows([table])
        if listed:
            names = [name for name in COLUMNS if name not in ("suite", "cases", "source")]
            parts.append(_line(names))
            parts.append(_line("---" for _ in names))
            parts += [_line(_cell(row[name]) for name in names) for row in listed]
        parts.append("")
        parts += [f"- {note}" for note in notes(table)]
        parts.append("")
    return "\n".join(parts)


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(value: object) -> str:
    return "" if value is None else str(value).replace("|", "\\|")


def _cost(cost: Cost) -> dict[str, object]:
    def money(nanos: float | None) -> str | None:
        return None if nanos is None else f"{nanos / NANOS:.6g}"

    return {
        "seconds": None if cost.seconds is None else f"{cost.seconds:.2f}",
        "tokens": None if cost.tokens is None else f"{cost.tokens:.0f}",
        "cost": money(cost.nanos_per_task),
        "per_solved": money(cost.nanos_per_solved),
        "currency": cost.currency,
        "checkpoint": cost.checkpoint,
    }
