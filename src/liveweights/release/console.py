"""The operator's pages: what is live and since when, scorecards, and rollback by one click.

``GET /releases``, ``GET /releases/CHECKPOINT`` (``.json`` or ``.md`` at its end for programs) and
``POST /releases/rollback``.
"""

from __future__ import annotations

import asyncio
import base64
import hmac
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from liveweights.api.errors import ApiError, bad_request
from liveweights.api.wire import read_body, reply
from liveweights.config import Config
from liveweights.release import aliases
from liveweights.release.page import render, to_html, to_markdown
from liveweights.release.registry import NotRegistered
from liveweights.release.scorecard import read_scorecard
from liveweights.store.database import Pool

PREFIX = "/releases"
SHOWN = 50
"""Last changes of the alias that are listed."""
HTML, JSON, MARKDOWN = b"text/html; charset=utf-8", b"application/json", b"text/markdown"

PAGE = """\
<!doctype html>
<html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ alias.name }}: releases</title>
<style>{{ style | safe }} form { display: inline } button { font: inherit; cursor: pointer }</style>
<h1>{{ alias.name }}</h1>
<p class="verdict"><a href="/releases/{{ alias.live | urlencode }}">{{ alias.live }}</a> is live.
{% if alias.canary %}<p>Canary:
<a href="/releases/{{ alias.canary | urlencode }}">{{ alias.canary }}</a>,
{{ "%.0f%%" | format(100 * alias.share) }} of the sessions{% if alias.held %}, held{% endif %}.
{% endif %}
<h2>Go back</h2>
{% if targets %}
<table><tr><th>checkpoint<th>
{% for target in targets %}
<tr><td><a href="/releases/{{ target | urlencode }}">{{ target }}</a><td>
<form method="post" action="/releases/rollback">
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


class ReleasesRoute:
    """Answers below ``/releases``, if there is an operator's key, and hands on everything else."""

    def __init__(self, app: ASGIApp, pool: Pool, config: Config) -> None:
        self._app = app
        self._pool = pool
        self._config = config

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"] if scope["type"] == "http" else ""
        if not self._config.api.operator_key or not (path + "/").startswith(PREFIX + "/"):
            await self._app(scope, receive, send)
            return
        try:
            self._check(Headers(scope=scope))
            what = unquote(path.removeprefix(PREFIX).strip("/"))
            if scope["method"] == "POST" and what == "rollback":
                await self._roll_back(scope, receive)
                await reply(send, 303, b"", ((b"location", PREFIX.encode()),))
            elif scope["method"] not in ("GET", "HEAD"):
                raise ApiError(405, f"{path} takes GET.", code="method_not_allowed")
            elif what:
                text, kind = await self._show_card(what)
                await reply(send, 200, text, content_type=kind)
            else:
                await reply(send, 200, await self._list(), content_type=HTML)
        except ApiError as error:
            await reply(send, error.status, error.body(), error.headers)

    def _check(self, headers: Headers) -> None:
        """Raises ApiError 401 without the operator's key."""
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "basic":
            try:
                given = base64.b64decode(given).decode().partition(":")[2]
            except ValueError:
                given = ""
        if not hmac.compare_digest(given.encode(), self._config.api.operator_key.encode()):
            challenge = ((b"www-authenticate", b'Basic realm="liveweights", charset="UTF-8"'),)
            message = "These pages need the operator's key, [api] operator_key."
            raise ApiError(401, message, code="invalid_operator_key", headers=challenge)

    async def _list(self) -> bytes:
        async with self._pool.connection() as conn:
            alias = await aliases.read(conn, self._config.alias)
            changes = await aliases.history(conn, self._config.alias)
            targets = await aliases.rollback_targets(conn, self._config.alias)
        page = render(
            PAGE, escape=True, alias=alias, targets=targets, changes=changes[: -SHOWN - 1 : -1]
        )
        return page.encode()

    async def _show_card(self, name: str) -> tuple[bytes, bytes]:
        """A scorecard and its type."""
        checkpoint, dot, kind = name.rpartition(".")
        if kind not in ("json", "md") or not dot:
            checkpoint, kind = name, "html"
        try:
            async with self._pool.connection() as conn:
                card = await read_scorecard(conn, checkpoint, self._config.rewards)
        except NotRegistered as error:
            raise ApiError(404, f"{error}", code="not_found") from None
        if kind == "json":
            return msgspec.json.encode(card), JSON
        if kind == "md":
            return to_markdown(card).encode(), MARKDOWN
        return (await asyncio.to_thread(to_html, card)).encode(), HTML

    async def _roll_back(self, scope: Scope, receive: Receive) -> None:
        """Raises ApiError: 403 for another site's form, 409 where it cannot be done (any more)."""
        headers = Headers(scope=scope)
        # A browser sends the password with forms of other sites too.
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != headers.get("host"):
            raise ApiError(403, "The form is not one of these pages.", code="wrong_origin")
        form = dict(parse_qsl((await read_body(scope, receive, 10_000)).decode("latin-1")))
        version = form.get("version")
        if version is not None and not version.isdecimal():
            raise bad_request(f"'version' is {version!r}; it is a number.", "version")
        try:
            async with self._pool.connection() as conn:
                await aliases.rollback(
                    conn,
                    self._config.alias,
                    form.get("to") or None,
                    reason=form.get("reason") or "by hand, on the page",
                    version=None if version is None else int(version),
                )
        except (aliases.AliasError, NotRegistered) as error:
            raise ApiError(409, f"{error}", code="no_rollback") from None
