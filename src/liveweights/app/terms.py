"""The rules of use of a service: made from its settings, kept by its database, applied where models
are loaded."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime

from liveweights.app.profiles import Known
from liveweights.app.start import CannotStart
from liveweights.config import Config
from liveweights.insight import questions
from liveweights.insight.window import make_window
from liveweights.meter.price_book import NOTHING_HELD
from liveweights.meter.tariffs import Tariffs
from liveweights.scoreboard.rows import read_standing
from liveweights.serve.api.models import find_capabilities
from liveweights.serve.api.pricing import find_pricing, in_dollars
from liveweights.serve.api.profile import AcceptRate, Latency, Profile, Standing, VerdictTold
from liveweights.serve.models import Model
from liveweights.store.database import Connection, Pool
from liveweights.store.faults import note_fault
from liveweights.terms.criteria import Candidate
from liveweights.terms.current import Terms
from liveweights.terms.decision import Match
from liveweights.terms.roster import NONE
from liveweights.terms.rows import read_overrides

log = logging.getLogger(__name__)

WINDOW = "7d"
"""What accept rates and latencies are of."""
PAUSE = 30.0
"""Seconds between two looks at how models do."""


def make_terms(
    config: Config, known: Mapping[str, Known], closed: Mapping[str, Match] = NONE
) -> Terms:
    candidates = [one.candidate for one in known.values()]
    return Terms(candidates, config.terms, purposes=config.purposes, closed=closed)


async def find_denied(
    conn: Connection, config: Config, known: Mapping[str, Known]
) -> dict[str, Match]:
    """Models that the terms do not let be loaded today, each by the rule that denies it. A look, of
    which nothing is kept."""
    terms = make_terms(config, known)
    overrides = await read_overrides(conn, datetime.now(UTC).date())
    terms.override(one.override for one in overrides)
    return dict(_list_denied(terms, known))


async def find_closed(
    conn: Connection, config: Config, known: Mapping[str, Known], *, noted: Collection[str] = ()
) -> dict[str, Match]:
    """Models that the terms do not let be loaded, each by the rule that denies it, which becomes a
    row, except for those that are ``noted`` already. ``conn`` has no transaction yet."""
    terms = make_terms(config, known)
    async with terms.renewed(conn):
        closed = dict(_list_denied(terms, known))
        for name in closed:
            if name not in noted:
                terms.permit(name, terms.ask("load"))
    return closed


def _list_denied(terms: Terms, names: Iterable[str]) -> Iterator[tuple[str, Match]]:
    for name in names:
        decision = terms.decide(name, terms.ask("load"))
        if decision.outcome == "deny" and decision.decided_by is not None:
            yield name, decision.decided_by


def check_closed(config: Config, closed: Mapping[str, Match]) -> None:
    """Say of each what was decided. Raises CannotStart where no model is left."""
    for name, match in closed.items():
        log.error("%s", describe(name, match))
    if len(closed) == len(config.list_models()) + len(config.list_hosted()):
        told = "; ".join(describe(name, match) for name, match in closed.items())
        raise CannotStart(f"No model of this service may be loaded. {told}")


def describe(name: str, match: Match) -> str:
    return (
        f"The model {name!r} is not loaded: {match}. The rule is {match.rule}; `liveweights terms "
        f"override {name} {match.rule} --action load ...` sets it aside"
    )


class Lookout:
    """Follows the models of a service, which may come and go, and how they do: what is said of
    them, and what ``terms`` and routes go by. For use from one event loop."""

    def __init__(self, pool: Pool, terms: Terms, tariffs: Tariffs | None = None) -> None:
        """Without ``tariffs`` routes go by the prices of the settings and of providers' lists."""
        self.terms = terms
        self.profiles: dict[str, Profile] = {}
        """Of every model."""
        self.standings: dict[str, Standing] = {}
        """As they were at the last look."""
        self._pool = pool
        self._tariffs = tariffs
        self._known: Mapping[str, Known] = {}
        self._local: Mapping[str, Model] = {}
        self._scores: dict[str, dict[str, float]] = {}

    def follow(
        self, known: Mapping[str, Known], local: Mapping[str, Model], closed: Mapping[str, Match]
    ) -> None:
        """From now on these are the models; ``local`` are those of ours that are open here, and
        ``closed`` were not loaded, by the rule that denies it."""
        self._known, self._local = dict(known), dict(local)
        self.profiles.clear()
        self.profiles.update((name, one.profile) for name, one in known.items())
        self.terms.replace(self._candidates(), closed)

    async def run(self) -> None:
        """For ever; what goes wrong is logged, and tried again."""
        while True:
            try:
                await self.look()
            except Exception as error:
                # Whatever it was, what was known is told until the next look finds it mended.
                note_fault(log, error, "how the models do is not known at the moment")
            await asyncio.sleep(PAUSE)

    async def look(self) -> None:
        async with self._pool.connection() as conn:
            stands = await questions.standing(conn, make_window(WINDOW))
            scored = await read_standing(conn, self._known, self._live())
        self.standings.clear()
        self.standings.update((one.alias, _told(one)) for one in stands)
        self._scores = {one.alias: dict(one.scores) for one in stands}
        for one in scored:
            self._scores.setdefault(one.model, {})[one.suite] = one.score
        self.terms.replace(self._candidates())

    def _live(self) -> Iterator[tuple[str, str]]:
        """Models with what they answer with now: only scores of that count. What a hosted one
        answers with is its upstream's to say: of that the last score counts."""
        for name, model in self._local.items():
            for route in model.router.routes():
                yield name, route.live

    def _candidates(self) -> Iterator[Candidate]:
        """As they are served, at the prices that hold for everybody. A fallback that is not there
        (yet) is left out."""
        now = datetime.now(UTC)
        for name, one in self._known.items():
            held = self._tariffs.find("", name, now) if self._tariffs else NOTHING_HELD
            input, output = in_dollars(find_pricing(held, one.profile.pricing))
            candidate = replace(
                one.candidate,
                input=input,
                output=output,
                scores=self._scores.get(name, {}),
                fallback=tuple(other for other in one.candidate.fallback if other in self._known),
            )
            if (model := self._local.get(name)) is not None:
                facts = replace(candidate.facts, context=model.engine.context_length)
                can = find_capabilities(model).abilities()
                candidate = replace(candidate, facts=facts, can=can)
            yield candidate


def _told(one: questions.Standing) -> Standing:
    verdict = accepted = latency = None
    if one.cycle is not None and one.verdict is not None:
        verdict = VerdictTold(cycle=one.cycle, outcome=one.verdict, reasons=tuple(one.reasons))
    if one.accept_rate is not None and one.low is not None and one.high is not None:
        accepted = AcceptRate(rate=one.accept_rate, low=one.low, high=one.high, judged=one.clicked)
    if one.p50_ms is not None and one.p95_ms is not None:
        latency = Latency(p50_ms=one.p50_ms, p95_ms=one.p95_ms)
    return Standing(verdict=verdict, accept_rate=accepted, latency=latency)
