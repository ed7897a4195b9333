"""Rows into tables: what may be compared, its ranking, its costs, and the noise beside it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

import msgspec

from liveweights.gate.statistics import Difference
from liveweights.scoreboard.randomisation import randomised_difference
from liveweights.scoreboard.ranking import Column, Ranking, rank
from liveweights.scoreboard.results import OWN, Conditions, Result, Scored

NOBODY: Mapping[str, str | None] = MappingProxyType({})


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """Means of a model's attempts; ``nanos_per_solved`` is all that was paid over the sum of the
    scores. None: not known, or nothing was solved."""

    model: str
    checkpoint: str | None
    hardware: str
    runner: str
    seconds: float | None
    tokens: float | None
    currency: str | None
    nanos_per_task: float | None
    nanos_per_solved: float | None


class Noise(msgspec.Struct, frozen=True, kw_only=True):
    """The same model on the same cases, again with other seeds: the mean of second minus first, and
    on what share of the cases the two differ."""

    model: str
    difference: Difference
    changed: float


class Open(msgspec.Struct, frozen=True, kw_only=True):
    """A run that is not whole, and therefore not ranked: whoever looks before the end and stops
    when it suits sees differences that are not there. ``refusal`` is what was said where every
    attempt so far was refused."""

    model: str
    run: int
    attempts: int
    planned: int
    refusal: str = ""


class Former(msgspec.Struct, frozen=True, kw_only=True):
    """A model whose score is of another checkpoint than the one that is ``live``."""

    model: str
    checkpoint: str | None
    live: str | None


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """The models that were asked under one set of conditions. ``ranking`` is None where no run is
    whole."""

    conditions: Conditions
    ranking: Ranking | None
    costs: tuple[Cost, ...]
    noise: tuple[Noise, ...]
    open: tuple[Open, ...]
    former: tuple[Former, ...] = ()


def make_tables(
    scored: Iterable[Scored],
    models: Sequence[str] = (),
    live: Mapping[str, str | None] = NOBODY,
    *,
    confidence: float = 0.95,
    power: float = 0.8,
) -> list[Table]:
    """A table for each set of conditions, by suite; of ``models`` only, where some are given. Of
    each model the checkpoint that ``live`` names, as it answers with that now; where that was not
    scored, or none is named, the last one that was."""
    tables: defaultdict[Conditions, dict[str, list[Scored]]] = defaultdict(dict)
    for one in scored:
        run = one.run
        if models and run.model not in models:
            continue
        first = msgspec.structs.replace(run.conditions, repeat=0)
        tables[first].setdefault(run.model, []).append(one)
    return [
        _make(
            conditions,
            {model: _choose(of, model, live) for model, of in runs.items()},
            live,
            confidence=confidence,
            power=power,
        )
        for conditions, runs in sorted(
            tables.items(), key=lambda item: (item[0].suite, msgspec.structs.astuple(item[0]))
        )
    ]


def _make(
    conditions: Conditions,
    runs: Mapping[str, Sequence[Scored]],
    live: Mapping[str, str | None],
    *,
    confidence: float,
    power: float,
) -> Table:
    firsts = {
        model: next(one for one in of if one.run.conditions.repeat == 0)
        for model, of in runs.items()
        if any(one.run.conditions.repeat == 0 for one in of)
    }
    whole = {model: one for model, one in firsts.items() if one.is_whole}
    columns = [Column(model=model, scores=means(one)) for model, one in whole.items()]
    # The same suite has the same cases; an import may have others, which are none of each other.
    cases = {frozenset(column.scores) for column in columns}
    ranking = (
        rank(columns, _groups(whole.values()), confidence=confidence, power=power)
        if len(cases) == 1
        else None
    )
    noise = [
        _noise(model, whole[model], one, confidence)
        for model, of in runs.items()
        for one in of
        if model in whole and one.run.conditions.repeat and one.is_whole
    ]
    return Table(
        conditions=conditions,
        ranking=ranking,
        costs=tuple(_cost(model, one) for model, one in firsts.items() if not one.refusal),
        noise=tuple(noise),
        open=tuple(
            Open(
                model=model,
                run=one.id,
                attempts=len(one.results),
                planned=one.run.conditions.cases * one.run.conditions.samples,
                refusal=one.refusal,
            )
            for model, one in firsts.items()
            if not one.is_whole
        ),
        former=tuple(
            Former(model=model, checkpoint=one.run.checkpoint, live=live[model])
            for model, one in whole.items()
            if conditions.source == OWN
            and live.get(model, one.run.checkpoint) != one.run.checkpoint
        ),
    )


def means(one: Scored) -> dict[str, float]:
    """Mean score by case, of a run that is whole."""
    scores: defaultdict[str, list[float]] = defaultdict(list)
    for result in one.results.values():
        scores[result.case].append(result.score)
    return {case: sum(of) / len(of) for case, of in scores.items()}


def _choose(runs: Sequence[Scored], model: str, live: Mapping[str, str | None]) -> Sequence[Scored]:
    """Those of the checkpoint that is live, else of the one that was scored last."""
    if model in live and (own := [one for one in runs if one.run.checkpoint == live[model]]):
        return own
    newest = max(runs, key=lambda one: (one.created_at, one.id)).run.checkpoint
    return [one for one in runs if one.run.checkpoint == newest]


def _groups(runs: Iterable[Scored]) -> dict[str, str]:
    return {
        result.case: result.group
        for one in runs
        for result in one.results.values()
        if result.group is not None
    }


def _noise(model: str, first: Scored, second: Scored, confidence: float) -> Noise:
    before, after = means(first), means(second)
    cases = sorted(before.keys() & after.keys())
    groups = _groups([first])
    difference, _ = randomised_difference(
        [after[case] for case in cases],
        [before[case] for case in cases],
        [groups.get(case, case) for case in cases],
        confidence,
    )
    return Noise(model=model, difference=difference, changed=difference.changed / len(cases))


def _cost(model: str, one: Scored) -> Cost:
    results = list(one.results.values())
    solved = sum(result.score for result in results)
    nanos = _sum(result.nanos for result in results)
    tokens = _sum(_tokens(result) for result in results)
    seconds = _sum(result.seconds for result in results)
    count = len(results)
    return Cost(
        model=model,
        checkpoint=one.run.checkpoint,
        hardware=one.run.hardware,
        runner=one.run.conditions.runner,
        seconds=None if seconds is None else seconds / count,
        tokens=None if tokens is None else tokens / count,
        currency=one.currency,
        nanos_per_task=None if nanos is None else nanos / count,
        nanos_per_solved=nanos / solved if nanos is not None and solved else None,
    )


def _tokens(result: Result) -> int | None:
    if result.prompt_tokens is None or result.completion_tokens is None:
        return None
    return result.prompt_tokens + result.completion_tokens


def _sum(values: Iterable[float | None]) -> float | None:
    """None where there is none, or one is not known."""
    known: list[float] = []
    for value in values:
        if value is None:
            return None
        known.append(value)
    return sum(known) if known else None
