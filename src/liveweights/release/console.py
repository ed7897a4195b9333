"""The operator's pages: what is live and since when, scorecards, and rollback by one click.

``GET /releases``, ``GET /releases/CHECKPOINT`` (``.json`` or ``.md`` at its end for programs) and
``POST /releases/rollback``.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from urllib.parse import urlencode, urlsplit

import msgspec
from starlette.datastructures import Headers, QueryParams
from starlette.types import Receive, Scope, Send

from liveweights.http.authentication import Authenticator
from liveweights.http.errors import ApiError, bad_request, too_many
from liveweights.http.routes import Mount, Route, Routes
from liveweights.http.slots import QueueFull, Slots
from liveweights.http.wire import read_form, reply
from liveweights.learn.rewards import RewardMap
from liveweights.release import aliases
from liveweights.release.alias import Alias, AliasError
from liveweights.release.history import read_history, rollback_targets
from liveweights.release.page import render, to_html, to_markdown
from liveweights.release.scorecard import read_scorecard
from liveweights.store.database import Connection, Pool
from liveweights.weights.registry import NotRegistered

PREFIX = "/releases"
SHOWN = 50
"""Last changes of the alias that are listed."""
AT_ONCE, WAITING = 2, 16
"""Pages; their connections to the database are those of all that users wait for."""
GUARDED = (
    (
        b"content-security-policy",
        b"; ".join(
            (
                *(b"default-src 'none'", b"style-src 'unsafe-inline'", b"form-action 'self'"),
                *(b"frame-ancestors 'none'", b"base-uri 'none'"),
            )
        ),
    ),
    (b"x-frame-options", b"DENY"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)
"""No page of another site shows these in a frame, and nothing in them is run or fetched."""
HTML, JSON, MARKDOWN = b"text/html; charset=utf-8", b"application/json", b"text/markdown"

Explain = Callable[[Connection, Alias], Awaitable[str]]
"""What happens next with an alias's canary, in one sentence."""

PAGE = """\
<!doctype html>
<html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ alias.name }}: releases</title>
<style>{{ style | safe }} form { display: inline } button { font: inherit; cursor: pointer }</style>
{% if models | length > 1 %}<nav>{% for name in models %}
<a href="/releases?model={{ name | urlencode }}"
{%- if name == alias.name %} aria-current="page"{% endif %}>{{ name }}</a>
{% endfor %}</nav>{% endif %}
<h1>{{ alias.name }}</h1>
<p class="verdict"><a href="/releases/{{ alias.live | urlencode }}">{{ alias.live }}</a> is live.
{% if alias.canary %}<p>Canary:
<a href="/releases/{{ alias.canary | urlencode }}">{{ alias.canary }}</a>,
{{ "%.0f%%" | format(100 * alias.share) }} of the {{ "answers" if alias.by_answer else "sessions" }}
{%- if alias.held %}, held{% endif %}. {{ waits }}
{% endif %}
<h2>Go back</h2>
{% if targets %}
<table><tr><th>checkpoint<th>
{% for target in targets %}
<tr><td><a href="/releases/{{ target | urlencode }}">{{ target }}</a><td>
<form method="post" action="/releases/rollback">
<input type="hidden" name="model" value="{{ alias.name }}">
<input type="hidden" name="to" value="{{ target }}">
<input type="hidden" name="version" value="{{ alias.version }}">
<button>Make it live again</button></form>
{% endfor %}
</table>
{% else %}<p>Nothing that was live before is still on disk.{% endif %}
<h2>What changed</h2>
<table><tr><th>action<th>checkpoint<th>why
{% for r in changes %}
<tr><td>{{ r.action }}<td><a href="/releases/{{ r.checkpoint | urlencode }}">{{ r.checkpoint }}</a>
<td>{{ r.reason }}
{% endfor %}
</table>
</html>
"""


class Console:
    """The operator's pages. Each raises ApiError 401 without the operator's key."""

    def __init__(
        self,
        pool: Pool,
        rewards: Mapping[str, RewardMap],
        authenticator: Authenticator,
        explain: Explain | None,
    ) -> None:
        self._pool = pool
        self._explain = explain
        self._rewards = rewards
        self._authenticator = authenticator
        self._slots = Slots(AT_ONCE, WAITING)

    @asynccontextmanager
    async def _connection(self) -> AsyncGenerator[Connection]:
        try:
            async with self._slots.hold(1), self._pool.connection() as conn:
                yield conn
        except QueueFull as error:
            raise too_many(f"Too many pages at once: {error}.", "queue", 2.0) from None

    async def overview(self, scope: Scope, receive: Receive, send: Send) -> None:
        """GET /releases: of the first model, without ``?model=NAME``"""
        await self._authenticator.check_operator(scope)
        name = self._name(QueryParams(scope["query_string"]).get("model"))
        async with self._connection() as conn:
            alias = await aliases.read(conn, name)
            changes = await read_history(conn, name)
            targets = await rollback_targets(conn, name)
            waits = await self._explain(conn, alias) if alias.canary and self._explain else ""
        page = render(
            PAGE,
            escape=True,
            alias=alias,
            targets=targets,
            changes=changes[: -SHOWN - 1 : -1],
            models=list(self._rewards),
            waits=waits,
        )
        await reply(send, 200, page.encode(), GUARDED, content_type=HTML)

    async def card(self, scope: Scope, receive: Receive, send: Send) -> None:
        """GET /releases/CHECKPOINT"""
        await self._authenticator.check_operator(scope)
        name: str = scope["path_params"]["checkpoint"]
        checkpoint, dot, kind = name.rpartition(".")
        if kind not in ("json", "md") or not dot:
            checkpoint, kind = name, "html"
        try:
            async with self._connection() as conn:
                card = await read_scorecard(conn, checkpoint, self._rewards)
        except NotRegistered as error:
            raise ApiError(404, f"{error}", code="not_found") from None
        if kind == "json":
            await reply(send, 200, msgspec.json.encode(card), GUARDED, content_type=JSON)
        elif kind == "md":
            await reply(send, 200, to_markdown(card).encode(), GUARDED, content_type=MARKDOWN)
        else:
            page = await asyncio.to_thread(to_html, card)
            await reply(send, 200, page.encode(), GUARDED, content_type=HTML)

    async def roll_back(self, scope: Scope, receive: Receive, send: Send) -> None:
        """POST /releases/rollback. Raises ApiError: 403 for another site's form, 409 where it
        cannot be done (any more)."""
        await self._authenticator.check_operator(scope)
        _check_origin(Headers(scope=scope))
        form = await read_form(scope, receive, ("model", "to", "version", "reason"))
        name = self._name(form.get("model"))
        version = form.get("version")
        if version is not None and not re.fullmatch("[0-9]{1,18}", version):
            raise bad_request(f"'version' is {version[:50]!r}; it is a number.", "version")
        try:
            async with self._connection() as conn:
                await aliases.rollback(
                    conn,
                    name,
                    form.get("to"),
                    reason=form.get("reason") or "by hand, on the page",
                    version=None if version is None else int(version),
                )
        except (AliasError, NotRegistered) as error:
            raise ApiError(409, f"{error}", code="no_rollback") from None
        await reply(send, 303, b"", (*GUARDED, (b"location", _page_of(name).encode())))

    def _name(self, asked: str | None) -> str:
        """The model that is meant: the first, unless another is asked for. Raises ApiError."""
        name = next(iter(self._rewards), "") if asked is None else asked
        if name not in self._rewards:
            raise ApiError(404, f"No model is called {name[:128]!r}.", code="not_found")
        return name


def release_routes(
    pool: Pool,
    rewards: Mapping[str, RewardMap],
    authenticator: Authenticator,
    explain: Explain | None = None,
) -> Routes:
    """The pages about the models that ``rewards`` names; none where there is no operator's key.
    ``explain`` says what a canary waits for."""
    if not authenticator.has_operator:
        return []
    console = Console(pool, rewards, authenticator, explain)
    return [
        Mount(
            PREFIX,
            [
                Route("GET", "", console.overview),
                Route("POST", "/rollback", console.roll_back),
                Route("GET", "/{checkpoint}", console.card),
            ],
        )
    ]


def _page_of(name: str) -> str:
    return f"{PREFIX}?{urlencode({'model': name})}"


def _check_origin(headers: Headers) -> None:
    """A browser sends the password with forms of other sites too."""
    origin, site = headers.get("origin"), headers.get("sec-fetch-site", "same-origin")
    foreign = origin is not None and urlsplit(origin).netloc != headers.get("host")
    if foreign or site not in ("same-origin", "none"):
        raise ApiError(403, "The form is not one of these pages.", code="wrong_origin")
