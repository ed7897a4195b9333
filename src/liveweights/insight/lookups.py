"""The addresses of what tenants look up of their own."""

from __future__ import annotations

from liveweights.http.authentication import Authenticator
from liveweights.http.routes import Routes
from liveweights.insight.episodes import EPISODE
from liveweights.insight.generations import GENERATION
from liveweights.insight.own import LookupEndpoint
from liveweights.meter.limits import Limiter
from liveweights.store.database import Pool

LOOKUPS = (GENERATION, EPISODE)


def lookup_routes(pool: Pool, authenticator: Authenticator, limiter: Limiter) -> Routes:
    """One for each kind."""
    return [LookupEndpoint(pool, authenticator, limiter, one).route for one in LOOKUPS]
