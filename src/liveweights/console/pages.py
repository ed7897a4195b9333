"""The addresses of the console, who may ask for them, and the two forms of each page.

A page for people is at ``/answers``, the same for programs at ``/answers.json``: one function
reads both. Errors are pages for browsers and error objects for everybody else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import aclosing
from functools import partial
from time import monotonic
from typing import Any

import msgspec
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from liveweights.access.audit import write_entry
from liveweights.access.roles import Role
from liveweights.console import (
    adoption,
    bills,
    databases,
    episodes,
    exposure,
    invoices,
    keys,
    rating,
    usage,
    users,
)
from liveweights.console.answers import FILTERS, WANTED, read_answer, read_answers
from liveweights.console.assets import PREFIX, serve_asset
from liveweights.console.audit import read_audit
from liveweights.console.canary import OVERRULE
from liveweights.console.checkpoints import read_checkpoint, read_checkpoints, to_text
from liveweights.console.circle import STEPS, Next, read_circle
from liveweights.console.comparison import SIDES, read_comparison
from liveweights.console.conversation import read_conversation
from liveweights.console.cursor import PARAM
from liveweights.console.cycles import STEER, read_cycle, read_cycles
from liveweights.console.entry import Entry
from liveweights.console.export import read_lines, send_lines
from liveweights.console.forms import Form, Sent
from liveweights.console.headers import HEADERS, HTML, locate
from liveweights.console.home import read_home
from liveweights.console.lineage import read_lineage
from liveweights.console.live import EVERY, Feed
from liveweights.console.login import Login
from liveweights.console.page import Encoding, Page
from liveweights.console.person import Person
from liveweights.console.playground import read_playground
from liveweights.console.releases import ROLL_BACK, read_releases
from liveweights.console.scores import read_scoreboard
from liveweights.console.subject import Asked, Subject
from liveweights.console.templates import render
from liveweights.http.connections import Connections
from liveweights.http.errors import ApiError
from liveweights.http.glance import Glance
from liveweights.http.routes import Mount, Route, Routes
from liveweights.http.wire import read_query, reply
from liveweights.serve.api.recorder import Recorder
from liveweights.store.database import Pool

LONGEST_SECONDS = 10
"""Of a statement for a page."""
JSON, MARKDOWN = b"application/json", b"text/markdown"


LISTS = (
    Page("/playground", "playground.html", read_playground, tenants=True),
    Page("/answers", "answers.html", read_answers, (*FILTERS, *WANTED, PARAM), tenants=True),
    Page("/checkpoints", "checkpoints.html", read_checkpoints, (PARAM,)),
    Page("/cycles", "cycles.html", read_cycles, (PARAM,)),
    Page("/releases", "releases.html", read_releases, (PARAM,)),
    Page("/lineage", "lineage.html", read_lineage, (PARAM,)),
    Page("/comparison", "comparison.html", read_comparison, SIDES, within="releases"),
    Page("/scoreboard", "scoreboard.html", read_scoreboard),
    Page("/episodes", "episodes.html", episodes.read_episodes, ("tenant", PARAM), tenants=True),
    Page("/exposure", "exposure.html", exposure.read_exposure, exposure.QUERY),
    Page("/adoption", "adoption.html", adoption.read_adoption, adoption.QUERY),
    Page("/bills", "bills.html", bills.read_bills, (PARAM,)),
    Page("/databases", "databases.html", databases.read_databases, (PARAM,)),
    Page("/keys", "keys.html", keys.read_keys, (PARAM,), tenants=True),
    Page("/usage", "usage.html", usage.read_usage, ("since", "until", "by", PARAM), tenants=True),
    Page("/budgets", "budgets.html", usage.read_budgets, (PARAM,), tenants=True),
    Page("/invoices", "invoices.html", invoices.read_invoices, ("tenant", PARAM), tenants=True),
    Page("/users", "users.html", users.read_users, needed="admin"),
    Page("/audit", "audit.html", read_audit, (PARAM,), needed="admin"),
)
SINGLE = (
    Page("/answers", "answer.html", read_answer, tenants=True),
    Page(
        "/conversations",
        "conversation.html",
        read_conversation,
        (PARAM,),
        tenants=True,
        within="answers",
    ),
    Page(
        "/checkpoints",
        "checkpoint.html",
        read_checkpoint,
        encodings={"md": Encoding(MARKDOWN, to_text)},
    ),
    Page("/cycles", "cycle.html", read_cycle, (PARAM,)),
    Page("/episodes", "episode.html", episodes.read_episode, ("tenant", PARAM), tenants=True),
    Page("/bills", "bill.html", bills.read_materials, (PARAM,), bills.ENCODINGS),
    Page(
        "/invoices", "invoice.html", invoices.read_one, encodings=invoices.ENCODINGS, tenants=True
    ),
)
FORMS = (STEER, ROLL_BACK, OVERRULE, databases.CHANGE, keys.CHANGE)
HOME = Page("/", "home.html", read_home)
FORESEEN = 10.0
"""Seconds for which those who watch are told the same of the next cycle."""


class Console:
    """``now`` says what it is about when a page is asked for: models may come and go."""

    def __init__(
        self, pool: Pool, now: Callable[[], Subject], entry: Entry, recorder: Recorder
    ) -> None:
        self._connections = Connections(pool, longest=LONGEST_SECONDS)
        self._now = now
        self._entry = entry
        own = (users.make_form(entry.provider is not None), rating.make_form(recorder))
        self._forms = (*FORMS, *own)
        self._glances: dict[str, Glance[str]] = {}
        self._foreseen: dict[str, tuple[float, Next]] = {}
        self.feed = Feed(self._glance)

    def routes(self) -> Routes:
        """Every address; none where there is no model."""
        if not self._now().names:
            return []
        return [
            *Login(self._entry).routes(),
            Route("GET", "/", self._show(HOME, "html")),
            Route("GET", "/home.json", self._show(HOME, "json")),
            Route("GET", "/live", self._entry.guard(self._watch)),
            *(Route("GET", page.path, self._show(page, "html")) for page in LISTS),
            *(Route("GET", f"{page.path}.json", self._show(page, "json")) for page in LISTS),
            *(Route("GET", page.path + "/{id}", self._show_one(page)) for page in SINGLE),
            Route("GET", "/answers.jsonl", self._for_people(self._export, tenants=True)),
            *(Route("POST", form.path, self._take(form)) for form in self._forms),
            Mount(PREFIX, [Route("GET", "/{name}", serve_asset)]),
        ]

    def _show(self, page: Page, kind: str) -> ASGIApp:
        async def show(scope: Scope, receive: Receive, send: Send) -> None:
            await self._send(page, kind, "", scope, send)

        return self._for_people(show, page.needed, page.tenants)

    def _show_one(self, page: Page) -> ASGIApp:
        async def show(scope: Scope, receive: Receive, send: Send) -> None:
            name: str = scope["path_params"]["id"]
            id_, kind = page.split(name)
            await self._send(page, kind, id_, scope, send)

        return self._for_people(show, page.needed, page.tenants)

    async def _send(self, page: Page, kind: str, id_: str, scope: Scope, send: Send) -> None:
        subject = self._now()
        asked = self._ask(scope, subject, page.query, id_)
        async with self._connections.take(scope["person"].crowd) as conn:
            data = await page.read(conn, subject, asked)
        if kind == "json":
            await reply(send, 200, msgspec.json.encode(data), HEADERS, content_type=JSON)
        elif encoding := page.encodings.get(kind):
            content = await asyncio.to_thread(encoding.write, data)
            await reply(send, 200, content, HEADERS, content_type=encoding.content_type)
        else:
            html = self._write(page, asked, scope["person"], data)
            await reply(send, 200, html.encode(), HEADERS, content_type=HTML)

    def _write(self, page: Page, asked: Asked, person: Person, data: Any, **once: object) -> str:
        place: str | None = getattr(data, "next", None)
        values = {
            **once,
            "page": data,
            "query": asked.query,
            "following": None if place is None else page.write_next(asked, place),
        }
        shown = getattr(data, "model", asked.model)
        return self._render(page.template, page.section, shown, person, **values)

    def _ask(self, scope: Scope, subject: Subject, known: Sequence[str], id_: str = "") -> Asked:
        """Raises ApiError 400, 404."""
        query = read_query(scope, ("model", *known))
        person: Person = scope["person"]
        model = subject.find(query.get("model"), person.tenant)
        return Asked(model, id_, query, self._entry.authenticator.asks_for_keys, person.tenant)

    async def _export(self, scope: Scope, receive: Receive, send: Send) -> None:
        """GET /answers.jsonl. Raises ApiError 400."""
        subject = self._now()
        asked = self._ask(scope, subject, (*FILTERS, *WANTED, PARAM))
        if scope["method"] == "HEAD":
            await reply(send, 200, b"", HEADERS, content_type=b"application/jsonl")
            return
        connect = partial(self._connections.take, scope["person"].crowd)
        async with aclosing(read_lines(connect, subject, asked)) as lines:
            await send_lines(receive, send, lines)

    def _render(
        self, template: str, section: str, model: str, person: Person, **values: object
    ) -> str:
        values |= {"person": person, "section": section, "steps": STEPS}
        return render(template, model=model, models=self._now().list_names(person.tenant), **values)

    def _for_people(
        self, endpoint: ASGIApp, needed: Role = "viewer", tenants: bool = False
    ) -> ASGIApp:
        """For those who may; what a browser asked for in vain is told on a page."""

        return self._entry.guard(endpoint, needed, tenants, refuse=self._refuse)

    async def _refuse(self, scope: Scope, send: Send, error: ApiError) -> None:
        person: Person = scope["person"]
        name = self._now().find(None, person.tenant)
        html = self._render("error.html", "", name, person, error=error)
        headers = (*HEADERS, *error.headers)
        await reply(send, error.status, html.encode(), headers, content_type=HTML)

    def _glance(self, model: str) -> Glance[str]:
        if model not in self._glances:
            self._glances[model] = Glance(partial(self._look, model), seconds=EVERY)
        return self._glances[model]

    async def _look(self, model: str) -> str:
        now = monotonic()
        at, foreseen = self._foreseen.get(model, (0.0, None))
        known = foreseen if now - at < FORESEEN else None
        async with self._connections.take() as conn:
            circle = await read_circle(conn, self._now(), model, foreseen=known)
        if known is None and circle.next is not None:
            self._foreseen[model] = now, circle.next
        return render("circle.html", circle=circle, steps=STEPS)

    async def _watch(self, scope: Scope, receive: Receive, send: Send) -> None:
        """GET /live: the circle as server-sent events"""
        model = self._now().find(read_query(scope, ("model",)).get("model"))
        if scope["method"] == "HEAD":
            await reply(send, 200, b"", HEADERS, content_type=b"text/event-stream; charset=utf-8")
        else:
            may = partial(self._entry.may, scope)
            await self.feed.stream(model, receive, send, may=may, who=scope["person"].name)

    def _take(self, form: Form) -> ASGIApp:
        """Does what a form says, with its row of the audit in the same transaction."""

        async def take(scope: Scope, receive: Receive, send: Send) -> None:
            person: Person = scope["person"]
            given = await self._entry.read_form(scope, receive, person, form.fields)
            subject, url = self._now(), _url_of(Headers(scope=scope))
            sent = Sent(person=person, fields={**given, **scope["path_params"]}, url=url)
            async with self._connections.take(person.crowd, writes=True) as conn:
                done = await form.do(conn, subject, sent)
                if done.event is not None:
                    kept = {name: given[name] for name in given if name not in form.unkept}
                    await write_entry(conn, person.name, done.event, kept)
                if done.after is not None:
                    await done.after()
            if done.once is None:
                await reply(send, 303, b"", (*HEADERS, locate(done.place)))
                return
            # Shown only when it is stored.
            (page,) = (page for page in LISTS if page.path == form.path)
            asked = self._ask({**scope, "query_string": b""}, subject, ())
            async with self._connections.take(person.crowd) as conn:
                data = await page.read(conn, subject, asked)
            html = self._write(page, asked, person, data, **done.once)
            await reply(send, 200, html.encode(), HEADERS, content_type=HTML)

        return self._for_people(take, form.needed, form.tenants)


def _url_of(headers: Headers) -> str:
    """Where a browser reaches the service: it says so with its forms."""
    return headers.get("origin") or f"http://{headers.get('host', '')}"
