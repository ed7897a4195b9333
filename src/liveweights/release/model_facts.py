"""What is known of a model, in words: the one list that its page and the commands are made of."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from liveweights.serve.api.objects import Model
from liveweights.serve.api.profile import DataPolicy, LicenceTold, Pricing

COLUMNS = (
    "model", "state", "checkpoint", "context", "maker", "country", "licence", "price", "can",
    "data", "accepted", "first token",
)  # fmt: skip
"""Of a table of models."""
UNKNOWN = "unknown"


def table_row(model: Model) -> tuple[str, ...]:
    """A model as a row of COLUMNS."""
    return (
        model.id,
        model.state,
        model.checkpoint,
        _context(model),
        model.maker or UNKNOWN,
        model.country or UNKNOWN,
        model.licence.id if model.licence else UNKNOWN,
        _price(model.pricing),
        ", ".join(_can(model)) or UNKNOWN,
        "stays" if model.data.sent_to is None else f"goes to {model.data.sent_to}",
        _accepted(model),
        _latency(model),
    )


def list_model_facts(model: Model) -> list[tuple[str, str]]:
    """Everything that is known of it: what is told, and what is told of that."""
    facts = [
        ("state", model.state),
        ("listed", "yes" if model.visible else "no: it answers those who name it"),
        ("answers", model.checkpoint),
        ("learnt from", model.parent or "-"),
        ("root", model.root),
        ("base", model.base or UNKNOWN),
        ("maker", model.maker or UNKNOWN),
        ("country", model.country or UNKNOWN),
        ("licence", _licence(model.licence)),
        ("context", _context(model)),
        ("can", ", ".join(_can(model)) or UNKNOWN),
        ("cannot", ", ".join(_can(model, no=True)) or "-"),
        ("price of a million tokens", _price(model.pricing)),
        *_data(model.data),
        ("accepted", _accepted(model)),
        ("first token", _latency(model)),
        ("last verdict", _verdict(model)),
    ]
    if model.canary is not None:
        told = f"{model.canary.checkpoint}, {model.canary.share:.0%} of the sessions"
        facts.insert(3, ("canary", told))
    return facts


def list_duties(model: Model) -> list[str]:
    """What its licence asks for, and those of what it was derived from, paraphrased."""
    return [
        f"{duty.kind}: {duty.text}" + (f" [{duty.threshold}]" if duty.threshold else "")
        for duty in model.duties
    ]


def _context(model: Model) -> str:
    return UNKNOWN if model.context_length is None else f"{model.context_length:,} tokens"


def _licence(licence: LicenceTold | None) -> str:
    return UNKNOWN if licence is None else f"{licence.id} ({licence.kind})"


def _can(model: Model, *, no: bool = False) -> list[str]:
    known = msgspec.to_builtins(model.capabilities)
    return [name for name, can in known.items() if can is not None and can != no]


def _price(price: Pricing | None) -> str:
    if price is None:
        return UNKNOWN
    told = ", ".join(
        f"{value:g} {price.currency} {what}"
        for what, value in (("in", price.input), ("out", price.output))
        if value is not None
    )
    since = f"since {price.since}" if price.since else ""
    whose = ", ".join(part for part in (price.version, since) if part)
    return (told or UNKNOWN) + (f" ({whose})" if whose else "")


def _data(data: DataPolicy) -> Iterator[tuple[str, str]]:
    yield "recorded", "yes" if data.recorded else "no"
    yield "teaches", ", ".join(data.teaches) or "nobody"
    yield "data", "stays on this machine" if data.sent_to is None else f"goes to {data.sent_to}"


def _accepted(model: Model) -> str:
    rate = model.accept_rate
    if rate is None:
        return "-"
    return f"{rate.rate:.0%} [{rate.low:.0%}, {rate.high:.0%}] of {rate.judged}"


def _latency(model: Model) -> str:
    told = model.latency
    return "-" if told is None else f"{told.p50_ms:.0f} ms, {told.p95_ms:.0f} ms (p95)"


def _verdict(model: Model) -> str:
    verdict = model.verdict
    if verdict is None:
        return "-"
    return f"{verdict.outcome}, cycle {verdict.cycle}: {'; '.join(verdict.reasons)}"
