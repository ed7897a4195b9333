"""What if it goes away: for each alias that would be lost, the best that remains. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from liveweights.exposure.facts import Learnt, Traffic
from liveweights.exposure.options import Option, Substitute, compare, rank
from liveweights.exposure.without import Without, reasons

SHOWN = 3
"""Substitutes for each alias."""


class Relearning(msgspec.Struct, frozen=True, kw_only=True):
    """What an alias would have to learn again on another base.

    ``reactions`` are those in Postgres that may be learnt from. Their answers have tokens of the
    old base, so recorded log-probabilities are of no use: they teach by the losses that need none.
    ``cycles`` and ``hours`` are what it took so far, which is the estimate for doing it again.
    """

    reactions: int
    cycles: int
    hours: float
    promoted: int
    gain: float


class Loss(msgspec.Struct, frozen=True, kw_only=True):
    """An alias that would be gone, and why. ``answer_share`` is of what was asked of the alias, on
    whatever base it stood. ``removed`` counts models that would be left but that
    rules of the terms deny, by rule."""

    alias: str
    because: tuple[str, ...]
    answer_share: float
    substitutes: tuple[Substitute, ...]
    removed: dict[str, int]
    relearning: Relearning | None


def list_losses(
    options: Sequence[Option],
    gone: Sequence[Without],
    traffic: Sequence[Traffic],
    *,
    days: float,
    denied_by: Callable[[str], str | None],
    learnt: Mapping[str, Learnt],
    reactions: Mapping[str, int],
) -> tuple[Loss, ...]:
    """The aliases of the service that would be gone, in their order.

    ``denied_by`` says by which rule a model may not be used. ``traffic`` is of ``days`` days,
    ``reactions`` are counts by alias.
    """
    left = [one for one in options if not any(reasons(one.model, gone))]
    denials = {one.name: denied_by(one.name) for one in left}
    allowed = [one for one in left if denials[one.name] is None]
    removed: dict[str, int] = {}
    for rule in denials.values():
        if rule is not None:
            removed[rule] = removed.get(rule, 0) + 1
    answers = sum(one.answers for one in traffic)
    losses: list[Loss] = []
    for before in options:
        because = tuple(reasons(before.model, gone))
        if not before.is_served or not because:
            continue
        ours = sum(one.answers for one in traffic if one.alias == before.name)
        losses.append(
            Loss(
                alias=before.name,
                because=because,
                answer_share=ours / answers if answers else 0.0,
                substitutes=_best(allowed, before, traffic, days),
                removed=removed,
                relearning=_relearning(learnt.get(before.name), reactions.get(before.name, 0)),
            )
        )
    return tuple(losses)


def _best(
    allowed: Iterable[Option], before: Option, traffic: Sequence[Traffic], days: float
) -> tuple[Substitute, ...]:
    compared = [(compare(one, before, traffic, days), one) for one in allowed]
    compared.sort(key=lambda pair: rank(pair[0], before, pair[1]))
    return tuple(one for one, _ in compared[:SHOWN])


def _relearning(learnt: Learnt | None, reactions: int) -> Relearning | None:
    if learnt is None and not reactions:
        return None
    return Relearning(
        reactions=reactions,
        cycles=learnt.cycles if learnt else 0,
        hours=(learnt.seconds if learnt else 0.0) / 3600,
        promoted=learnt.promoted if learnt else 0,
        gain=learnt.gain if learnt else 0.0,
    )
