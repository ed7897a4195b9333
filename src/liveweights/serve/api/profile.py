"""What is said of a model beside OpenAI's own members: whose it is, what it can do, what it costs,
how it does. None everywhere: not known."""

from __future__ import annotations

from typing import Literal, get_args

import msgspec

from liveweights.catalog.licences import Duty
from liveweights.terms.facts import LicenceKind
from liveweights.terms.needs import Ability

State = Literal["ready", "loading", "cold", "failed", "resting"]
"""``loading``: what it points at cannot answer yet. ``cold``: it is loaded when it is asked for.
``failed``: it could not be. ``resting``: of a hosted model whose upstream has failed several times
in a row."""


class Capabilities(msgspec.Struct, frozen=True, kw_only=True):
    """``json``: schemas are enforced. ``reasoning``: it can be told to think before it answers."""

    chat: bool | None = None
    completion: bool | None = None
    infill: bool | None = None
    tools: bool | None = None
    json: bool | None = None
    reasoning: bool | None = None
    vision: bool | None = None

    def abilities(self) -> dict[Ability, bool]:
        """Those that routes look at, as far as they are known."""
        known = ((name, getattr(self, name)) for name in get_args(Ability))
        return {name: can for name, can in known if can is not None}


class LicenceTold(msgspec.Struct, frozen=True, kw_only=True):
    """``id`` is SPDX's, or ``LicenseRef-...``."""

    id: str
    kind: LicenceKind
    url: str | None = None


class Pricing(msgspec.Struct, frozen=True, kw_only=True):
    """Of a million tokens, but ``request``. ``version`` is the price of the ledger, or the list
    that it is of; ``since`` is when it began to hold, a day or a moment; ``source`` is who set it
    (``operator``, ``settings``), or where the list has it from."""

    input: float | None = None
    output: float | None = None
    cached_input: float | None = None
    reasoning: float | None = None
    request: float | None = None
    currency: str
    version: str | None = None
    since: str | None = None
    source: str | None = None


class DataPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of what it is asked. ``teaches`` are the models that learn from its answers,
    where a request allows it. ``sent_to`` is whose server gets it; None: it stays on this
    machine."""

    recorded: bool = True
    teaches: tuple[str, ...] = ()
    sent_to: str | None = None


class VerdictTold(msgspec.Struct, frozen=True, kw_only=True):
    """The gate's last."""

    cycle: int
    outcome: str
    reasons: tuple[str, ...] = ()


class AcceptRate(msgspec.Struct, frozen=True, kw_only=True):
    """Of the ``judged`` answers of the last days, with a 95% interval, all in [0, 1]."""

    rate: float
    low: float
    high: float
    judged: int


class Latency(msgspec.Struct, frozen=True, kw_only=True):
    """Milliseconds to the first token, over the last days."""

    p50_ms: float
    p95_ms: float


class Warned(msgspec.Struct, frozen=True, kw_only=True):
    """A rule of use that warns."""

    rule: str
    reason: str


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a model before it answers. ``base`` is the hub id of what it began with,
    ``capabilities`` only what its engine does not say, ``context`` in tokens. ``visible`` is
    whether it is listed."""

    base: str | None = None
    maker: str | None = None
    country: str | None = None
    licence: LicenceTold | None = None
    duties: tuple[Duty, ...] = ()
    pricing: Pricing | None = None
    data: DataPolicy = DataPolicy()
    capabilities: Capabilities = Capabilities()
    context: int | None = None
    visible: bool = True


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """How it does."""

    verdict: VerdictTold | None = None
    accept_rate: AcceptRate | None = None
    latency: Latency | None = None
