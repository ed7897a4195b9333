"""The pages of models: all in a table, and one for each.

``GET /models`` and ``GET /models/NAME``; for programs the same is `/v1/models`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from starlette.types import Receive, Scope, Send

from liveweights.console.entry import Entry
from liveweights.console.headers import HEADERS, HTML
from liveweights.console.person import Person
from liveweights.console.templates import render
from liveweights.http.errors import ApiError
from liveweights.http.routes import Mount, Route, Routes
from liveweights.http.wire import reply
from liveweights.release.model_facts import COLUMNS, list_duties, list_model_facts, table_row
from liveweights.serve.api.models import Listing
from liveweights.serve.api.objects import Model

PREFIX = "/models"


class ModelPages:
    """All of them, and one."""

    def __init__(self, listing: Listing) -> None:
        self._listing = listing

    async def overview(self, scope: Scope, receive: Receive, send: Send) -> None:
        """GET /models"""
        person: Person = scope["person"]
        models = self._listing.read(person.tenant)
        rows = [table_row(model) for model in models]
        await _reply(scope, send, "models.html", models, columns=COLUMNS, rows=rows)

    async def model(self, scope: Scope, receive: Receive, send: Send) -> None:
        """GET /models/NAME. Raises ApiError 404."""
        person: Person = scope["person"]
        one = self._listing.find(scope["path_params"]["model"], person.tenant)
        await _reply(
            scope,
            send,
            "model.html",
            self._listing.read(person.tenant),
            one=one,
            local=_is_local(one),
            facts=list_model_facts(one),
            duties=list_duties(one),
        )

    async def refuse(self, scope: Scope, send: Send, error: ApiError) -> None:
        """What a browser asked for in vain, on a page."""
        models = self._listing.read(scope["person"].tenant)
        page = _render(scope, "error.html", models, error=error)
        headers = (*HEADERS, *error.headers)
        await reply(send, error.status, page.encode(), headers, content_type=HTML)


async def _reply(
    scope: Scope, send: Send, template: str, models: Iterable[Model], **values: Any
) -> None:
    page = _render(scope, template, models, **values)
    await reply(send, 200, page.encode(), HEADERS, content_type=HTML)


def _render(scope: Scope, template: str, models: Iterable[Model], **values: Any) -> str:
    # The other pages are of local models only.
    local = (model.id for model in models if _is_local(model))
    values |= {"person": scope["person"], "section": "models"}
    return render(template, model=next(local, ""), models=(), **values)


def _is_local(model: Model) -> bool:
    return model.owned_by != "hosted"


def model_routes(listing: Listing, entry: Entry) -> Routes:
    """The pages, for everybody who may enter; users of one tenant are told what it is told at
    `/v1/models`."""
    pages = ModelPages(listing)
    overview = entry.guard(pages.overview, tenants=True, refuse=pages.refuse)
    one = entry.guard(pages.model, tenants=True, refuse=pages.refuse)
    return [Mount(PREFIX, [Route("GET", "", overview), Route("GET", "/{model}", one)])]
