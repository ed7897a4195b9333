"""Everything about a service's exposure as one value, and as Markdown."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from liveweights.catalog.catalogue import Catalogue
from liveweights.exposure.duties import DutyStanding, Figures, list_duties
from liveweights.exposure.facts import DIMENSIONS, Key, Learnt, Served, Traffic
from liveweights.exposure.losses import Loss
from liveweights.exposure.options import Substitute
from liveweights.exposure.proportions import Rate
from liveweights.exposure.revenue import Amounts, tell, tell_shares
from liveweights.exposure.shares import Concentration, Share, list_concentrations, list_shares
from liveweights.terminal import clean

NOTE = (
    "Licences, duties and rules are paraphrased; this is not legal advice. Users and revenue are "
    "those that this service has recorded; a licence may count a whole company's."
)
CONCENTRATED = ("maker", "country", "upstream")
MARKUP = re.compile(r"[|`<\[\]*_\\]")


class RuleOnModel(msgspec.Struct, frozen=True, kw_only=True):
    """A government's rule of origin that is about a model of the service, and why."""

    alias: str
    rule: str
    jurisdiction: str
    status: str
    restricts: str
    because: str
    source: str


class Exposure(msgspec.Struct, frozen=True, kw_only=True):
    """From the day ``since`` to the day ``until``, both included (UTC). The users of the month were
    counted on ``users_days`` of its 30 days. ``losses`` are of what was imagined to be
    ``without``."""

    since: datetime.date
    until: datetime.date
    users_month: int
    users_days: int
    revenue_month: Amounts
    revenue_year: Amounts
    shares: dict[str, tuple[Share, ...]]
    concentration: dict[str, tuple[Concentration, ...]]
    duties: tuple[DutyStanding, ...]
    rules: tuple[RuleOnModel, ...]
    without: tuple[str, ...] = ()
    losses: tuple[Loss, ...] = ()
    note: str = NOTE


def make_exposure(
    served: Sequence[Served],
    traffic: Sequence[Traffic],
    learnt: Iterable[Learnt],
    figures: Figures,
    *,
    since: datetime.date,
    until: datetime.date,
    tenants: Mapping[Key, Iterable[str]],
    rules: tuple[RuleOnModel, ...] = (),
    former: Sequence[Served] = (),
) -> Exposure:
    """What depends on whom, how concentrated that is, and which duties apply. ``tenants`` are those
    who asked each model, ``former`` models that answered on bases that their aliases do not stand
    on any more."""
    gains, models = tuple(learnt), [*served, *former]
    return Exposure(
        since=since,
        until=until,
        users_month=figures.users_month,
        users_days=figures.users_days,
        revenue_month=figures.revenue_month,
        revenue_year=figures.revenue_year,
        shares={
            name: list_shares(models, traffic, gains, name, tenants=tenants) for name in DIMENSIONS
        },
        concentration={
            name: list_concentrations(models, traffic, name)
            for name in DIMENSIONS
            if name in CONCENTRATED
        },
        duties=list_duties(served, figures),
        rules=rules,
    )


def list_rules(served: Iterable[Served], known: Catalogue) -> tuple[RuleOnModel, ...]:
    """Rules of origin about each model by its maker, country or licence; none that are about every
    model."""
    return tuple(
        RuleOnModel(
            alias=model.alias,
            rule=one.rule.name,
            jurisdiction=one.rule.jurisdiction,
            status=one.rule.status,
            restricts=one.rule.restricts,
            because=one.because,
            source=one.rule.source,
        )
        for model in served
        if model.card is not None
        for one in known.rules_on(model.card)
        if not one.rule.every_model
    )


def to_markdown(exposure: Exposure) -> str:
    """One document."""
    return "\n".join(_lines(exposure)).rstrip() + "\n"


def _lines(one: Exposure) -> Iterator[str]:
    yield f"# Exposure, {one.since} to {one.until}"
    yield ""
    yield one.note
    for loss in one.losses:
        yield from _loss(loss)
    if one.without and not one.losses:
        yield ""
        yield f"**Without {', '.join(map(_text, one.without))}: no model of this service is gone.**"
    for name, shares in one.shares.items():
        head = (
            name.replace("_", " "),
            "aliases",
            "answers",
            "revenue",
            "tenants",
            "promoted",
            "gain",
        )
        yield from _table(f"By {head[0]}", head, map(_share, shares))
    for name, weeks in one.concentration.items():
        head = ("week", "Herfindahl index", "largest", "its share")
        rows = ((f"{w.week}", f"{w.index:.3f}", w.largest, f"{w.share:.1%}") for w in weeks)
        yield from _table(f"Concentration by {name}", head, rows)
    yield from _table(
        "Duties",
        ("state", "duty", "of", "aliases", "text", "why"),
        ((d.state, d.kind, d.origin, ", ".join(d.aliases), d.text, d.why) for d in one.duties),
    )
    yield from _table(
        "Rules of origin",
        ("alias", "rule", "jurisdiction", "status", "because", "source"),
        ((r.alias, r.rule, r.jurisdiction, r.status, r.because, r.source) for r in one.rules),
    )


def _share(one: Share) -> tuple[str, ...]:
    return (
        one.value,
        ", ".join(one.aliases),
        f"{one.answers:,} ({one.answer_share:.1%})",
        f"{tell(one.revenue)} ({tell_shares(one.revenue_share)})",
        f"{len(one.tenants)}",
        f"{one.promoted}",
        f"{one.gain:+.4f}",
    )


def _loss(loss: Loss) -> Iterator[str]:
    yield ""
    yield f"## {_text(loss.alias)} would be gone"
    yield ""
    because = ", ".join(map(_text, loss.because))
    yield f"Because of {because}; it gives {loss.answer_share:.1%} of all answers."
    if not loss.substitutes:
        yield ""
        yield f"**Nothing remains that the terms allow.**{_removed(loss.removed)}"
    else:
        head = ("instead", "accept rate", "scores", "USD a month", "context", "lost")
        yield from _table("", head, map(_substitute, loss.substitutes))
        if loss.removed:
            yield ""
            yield f"The terms leave out more:{_removed(loss.removed)}"
    again = loss.relearning
    if again is not None:
        yield ""
        yield (
            f"Learnt so far: {again.promoted} promoted cycles, a measured gain of "
            f"{again.gain:+.4f}, in {again.cycles} cycles and {again.hours:.1f} hours. "
            f"{again.reactions:,} reactions in Postgres can teach another base, without "
            "log-probabilities; to learn it again takes about as long."
        )


def _removed(removed: Mapping[str, int]) -> str:
    return "".join(f" {_text(rule)} denies {count}." for rule, count in sorted(removed.items()))


def _substitute(one: Substitute) -> tuple[str, ...]:
    cost = one.cost
    if cost.difference is not None:
        money = f"{cost.difference:+,.2f} ({cost.provider})"
    elif cost.after is not None:
        money = f"{cost.after:,.2f} ({cost.provider}); before: no listed price"
    else:
        money = "no listed price"
    scores = (f"{s.benchmark} {s.before:g} to {s.after:g} {s.unit}" for s in one.scores)
    return (
        one.name + ("" if one.is_served else " (not served here yet)"),
        _rate(one.accepted),
        "; ".join(scores) or "none that compare",
        money,
        f"{one.context_before or 'unknown'} to {one.context_after or 'unknown'}",
        "; ".join(one.lost) or "nothing known",
    )


def _rate(rate: Rate | None) -> str:
    if rate is None:
        return "not measured"
    return f"{rate.value:+.3f} [{rate.low:+.3f}, {rate.high:+.3f}]"


def _table(title: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Nothing where there are no rows."""
    filled = [[_text(cell) for cell in row] for row in rows]
    if not filled:
        return
    if title:
        yield ""
        yield f"## {title}"
    yield ""
    for cells in (head, ["---"] * len(head), *filled):
        yield f"| {' | '.join(cells)} |"


def _text(value: str) -> str:
    """What others named, so that it makes no cell or markup of its own."""
    return MARKUP.sub(r"\\\g<0>", clean(value))
