"""The rules of use of a service: made from its settings, kept by its database, applied where models
are loaded."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import psycopg

from liveweights.app.profiles import Known
from liveweights.app.start import CannotStart
from liveweights.config import Config
from liveweights.insight import questions
from liveweights.insight.window import make_window
from liveweights.serve.api.profile import AcceptRate, Latency, Standing, VerdictTold
from liveweights.serve.models import Model
from liveweights.store.database import Connection, Pool
from liveweights.terms.criteria import Candidate
from liveweights.terms.current import Terms
from liveweights.terms.decision import Match
from liveweights.terms.roster import NONE

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


async def find_closed(
    conn: Connection, config: Config, known: Mapping[str, Known]
) -> dict[str, Match]:
    """Models that the terms do not let be loaded, each by the rule that denies it, which becomes a
    row. In the caller's transaction."""
    terms = make_terms(config, known)
    await terms.renew(conn)
    asked = terms.ask("load")
    closed = {name: match for name in known if (match := terms.permit(name, asked)) is not None}
    await terms.write(conn)
    return closed


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


@dataclass(frozen=True, slots=True)
class Lookout:
    """Follows how the models of a service do: what is said of them, and what routes go by."""

    pool: Pool
    terms: Terms
    known: Mapping[str, Known]
    local: Mapping[str, Model]
    standings: dict[str, Standing] = field(default_factory=dict[str, Standing])
    """As they were at the last look."""

    async def run(self) -> None:
        """For ever; a database that is away is waited for."""
        while True:
            try:
                await self.look()
            except psycopg.OperationalError as error:
                log.warning("how the models do is not known at the moment: %s", error)
            await asyncio.sleep(PAUSE)

    async def look(self) -> None:
        async with self.pool.connection() as conn:
            stands = await questions.standing(conn, make_window(WINDOW))
        self.standings.clear()
        self.standings.update((one.alias, _told(one)) for one in stands)
        scores = {one.alias: one.scores for one in stands}
        self.terms.replace(self._as_served(one, scores) for one in self.known.values())

    def _as_served(self, one: Known, scores: Mapping[str, Mapping[str, float]]) -> Candidate:
        candidate = replace(one.candidate, scores=scores.get(one.alias, {}))
        model = self.local.get(one.alias)
        if model is None:
            return candidate
        context = model.engine.context_length
        return replace(candidate, facts=replace(candidate.facts, context=context))


def _told(one: questions.Standing) -> Standing:
    verdict = accepted = latency = None
    if one.cycle is not None and one.verdict is not None:
        verdict = VerdictTold(cycle=one.cycle, outcome=one.verdict, reasons=tuple(one.reasons))
    if one.accept_rate is not None and one.low is not None and one.high is not None:
        accepted = AcceptRate(rate=one.accept_rate, low=one.low, high=one.high, judged=one.clicked)
    if one.p50_ms is not None and one.p95_ms is not None:
        latency = Latency(p50_ms=one.p50_ms, p95_ms=one.p95_ms)
    return Standing(verdict=verdict, accept_rate=accepted, latency=latency)
