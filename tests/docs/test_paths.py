"""Every HTTP path that README and docs name is one that the service has."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import pytest
from starlette.types import ASGIApp
from tests.docs.pages import PAGES, ROOT

from liveweights.app.server import describe_subject, status_routes
from liveweights.app.sources import make_sources
from liveweights.config import Config
from liveweights.console.entry import Entry
from liveweights.console.pages import Console
from liveweights.insight.billing import billing_routes
from liveweights.insight.endpoint import insight_routes
from liveweights.insight.lookups import lookup_routes
from liveweights.insight.worths import Worths
from liveweights.learn.rewards import RewardMap
from liveweights.serve.api.app import create_app, make_authenticator, make_limiter
from liveweights.serve.api.settings import ApiSettings
from liveweights.serve.models import Models

NAMED = re.compile(
    r"(?:(?:GET|POST|DELETE) |`|https?://(?:127\.0\.0\.1|localhost):8090|localhost:8090)"
    r"(/(?:v1|insight|releases|answers|checkpoints|cycles|home|live|playground|status|metrics"
    r"|healthz|infill|openapi|login|invite|users|audit|episodes|exposure|adoption|bills|databases"
    r"|usage|budgets|invoices|keys)[\w/{}.@-]*)"
)
OTHERS = ("gateway.md", "settings.md", "CHANGELOG.md")
"""These name paths of other servers, too, or of former times."""
NOBODY = cast(Any, None)
"""No request gets as far as the database."""


def service() -> ASGIApp:
    """All routes of a service with an operator's key; nothing behind them."""
    settings = ApiSettings(operator_key="operator-0123456")
    authenticator, limiter = make_authenticator(settings), make_limiter(settings)
    config, home = Config(alias="m", api=settings), Path("/nowhere")
    subject = describe_subject(config, home, make_sources(lambda: config, home))
    entry = Entry(NOBODY, authenticator, settings)
    pages = [
        *billing_routes(NOBODY, authenticator, limiter),
        *insight_routes(NOBODY, authenticator, limiter, lambda: Worths(RewardMap())),
        *lookup_routes(NOBODY, authenticator, limiter),
        *Console(NOBODY, lambda: subject, entry, NOBODY).routes(),
        *status_routes(NOBODY, home, authenticator, now=lambda: config),
    ]
    return create_app(Models(), NOBODY, settings, pages=pages)


SERVICE = service()


def options(path: str) -> int:
    """The status of asking what a path takes."""
    statuses: list[int] = []

    async def send(message: Mapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    scope = {"type": "http", "method": "OPTIONS", "path": path, "query_string": b"", "headers": []}
    asyncio.run(SERVICE(scope, None, send))  # type: ignore[arg-type]
    return statuses[0]


def named() -> list[tuple[str, str]]:
    places: set[tuple[str, str]] = set()
    for page in PAGES:
        if page.name not in OTHERS:
            for path in NAMED.findall(page.read_text()):
                places.add((str(page.relative_to(ROOT)), path.rstrip(".")))
    return sorted(places)


@pytest.mark.parametrize(("page", "path"), named())
def test_a_named_path_is_one_of_the_services(page: str, path: str) -> None:
    if path.rstrip("/") not in ("/v1", "/insight"):  # what others are below
        assert options(path) == 204, f"{page} names {path}, which the service does not have"


def test_a_path_that_is_not_there_is_noticed() -> None:
    assert len(named()) > 20
    assert options("/v1/generation") == 404
    assert options("/v1/generations/{id}") == 204
