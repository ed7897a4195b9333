"""Signing in and out, and choosing a password by an invitation."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import msgspec
from starlette.datastructures import Headers, QueryParams
from starlette.types import ASGIApp, Receive, Scope, Send

from liveweights.access.oidc import CALLBACK, PLACE, Attempt, OidcRefused
from liveweights.access.passwords import (
    WeakPassword,
    check_password,
    hash_password,
    is_password,
)
from liveweights.access.sessions import begin_session
from liveweights.access.users import (
    UnknownUser,
    accept_invitation,
    find_added,
    find_user,
    read_invitation,
    read_password,
)
from liveweights.console.entry import Entry, check_origin, drop_cookie, drop_errand, place_of
from liveweights.console.headers import HEADERS, HTML, locate
from liveweights.console.person import Person
from liveweights.console.templates import render
from liveweights.http.errors import ApiError, too_many
from liveweights.http.routes import Route, Routes
from liveweights.http.slots import QueueFull, Slots
from liveweights.http.wire import read_form, read_query, reply
from liveweights.http.wrong_keys import network_of

AT_ONCE, WAITING = 2, 16
"""Passwords that are hashed, for which addresses take turns; each takes 64 MiB."""


class Login:
    """Pages for who is nobody yet."""

    def __init__(self, entry: Entry, clock: Callable[[], float] = time.time) -> None:
        self._entry = entry
        self._clock = clock
        self._slots = Slots(AT_ONCE, WAITING)

    def routes(self) -> Routes:
        """Every address; all but the last are for everybody."""
        return [
            Route("GET", "/login", self.show),
            *(
                (Route("GET", PLACE, self.go_elsewhere), Route("GET", CALLBACK, self.come_back))
                if self._entry.provider
                else ()
            ),
            Route("POST", "/login", self._for_people(self.sign_in)),
            Route("GET", "/invite", self.show_invitation),
            Route("POST", "/invite", self._for_people(self.accept)),
            Route("POST", "/logout", self._entry.guard(self.sign_out, tenants=True)),
        ]

    def _for_people(self, endpoint: ASGIApp) -> ASGIApp:
        """What a browser sent in vain is told on the page that signs in."""

        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            try:
                await endpoint(scope, receive, send)
            except ApiError as error:
                if "text/html" not in Headers(scope=scope).get("accept", ""):
                    raise
                await self._entry.show_login(send, error.status, "/", error.message, *error.headers)

        return answer

    async def show(self, scope: Scope, receive: Receive, send: Send) -> None:
        """GET /login"""
        place = place_of(read_query(scope, ("next",)).get("next"))
        await self._entry.show_login(send, 200, place, "")

    async def sign_in(self, scope: Scope, receive: Receive, send: Send) -> None:
        """POST /login. The operator's key is a password under any name."""
        check_origin(Headers(scope=scope))
        form = await read_form(scope, receive, ("name", "password", "next"))
        name, password = form.get("name", ""), form.get("password", "")
        place = place_of(form.get("next"))
        entry = self._entry
        if entry.authenticator.is_operator_key(password):
            session = begin_session("", await entry.version(), self._clock())
        else:
            async with entry.pool.connection() as conn:
                kept = await read_password(conn, name)
            async with self._turn(scope):
                is_right = await is_password(password, kept)
            if not is_right:
                wrong = ApiError(401, "No user has this name and this password.", code="not_known")
                refused = await entry.authenticator.refuse(scope, wrong)
                await self._entry.show_login(send, 401, place, refused.message)
                return
            async with entry.pool.connection() as conn:
                user = await find_user(conn, name)
            session = begin_session(user.name, user.stamp, self._clock())
        await _go(send, place, await entry.make_cookie(scope, session))

    async def go_elsewhere(self, scope: Scope, receive: Receive, send: Send) -> None:
        """GET /login/oidc: to the provider, who asks who it is."""
        place = place_of(read_query(scope, ("next",)).get("next"))
        provider = self._entry.provider
        assert provider is not None, "there is a route only where there is one"
        try:
            url, attempt = await provider.begin(place)
        except OidcRefused as error:
            await self._entry.show_login(send, 502, place, str(error))
            return
        kept = await self._entry.make_errand(scope, msgspec.json.encode(attempt))
        await _go(send, url, kept)

    async def come_back(self, scope: Scope, receive: Receive, send: Send) -> None:
        """GET /login/oidc/callback: whom the provider names is signed in, if it is a user here."""
        answer = read_any(scope)
        provider, entry = self._entry.provider, self._entry
        assert provider is not None, "there is a route only where there is one"
        kept = await entry.read_errand(scope)
        if kept is None:
            await self._entry.show_login(
                send, 401, "/", "It took too long, or another browser began."
            )
            return
        attempt = msgspec.json.decode(kept, type=Attempt)
        name = ""
        try:
            name = await provider.finish(attempt, answer)
            async with entry.pool.connection() as conn:
                user = await find_added(conn, name)
        except (OidcRefused, UnknownUser) as error:
            status = 403 if isinstance(error, UnknownUser) else 401
            why = f"{error} An admin adds users." if name else str(error)
            refused = await entry.authenticator.refuse(scope, ApiError(status, why))
            await self._entry.show_login(
                send, status, attempt.place, refused.message, drop_errand(scope)
            )
            return
        session = begin_session(user.name, user.stamp, self._clock())
        cookie = await entry.make_cookie(scope, session)
        await _go(send, attempt.place, cookie, drop_errand(scope))

    async def sign_out(self, scope: Scope, receive: Receive, send: Send) -> None:
        """POST /logout"""
        person: Person = scope["person"]
        await self._entry.read_form(scope, receive, person, ())
        await _go(send, "/login", drop_cookie(scope))

    async def show_invitation(self, scope: Scope, receive: Receive, send: Send) -> None:
        """GET /invite. Looking at it does not use it up."""
        token = read_query(scope, ("token",)).get("token", "")
        try:
            async with self._entry.pool.connection() as conn:
                name = await read_invitation(conn, token)
        except UnknownUser as error:
            await self._entry.show_login(send, 404, "/", str(error))
            return
        await self._invite(send, 200, token, name)

    async def accept(self, scope: Scope, receive: Receive, send: Send) -> None:
        """POST /invite: the password, once; who chose it is signed in."""
        check_origin(Headers(scope=scope))
        form = await read_form(scope, receive, ("token", "password", "again"))
        token, password = form.get("token", ""), form.get("password", "")
        entry, name = self._entry, ""
        try:
            async with entry.pool.connection() as conn:
                name = await read_invitation(conn, token)
            if password != form.get("again", ""):
                raise WeakPassword("The two passwords differ.")
            check_password(password, name)
            async with self._turn(scope):
                kept = await hash_password(password)
            async with entry.pool.connection() as conn:
                user = await accept_invitation(conn, token, kept)
        except UnknownUser as error:
            wrong = ApiError(404, str(error), code="not_invited")
            refused = await entry.authenticator.refuse(scope, wrong)
            await self._entry.show_login(send, 404, "/", refused.message)
            return
        except WeakPassword as error:
            await self._invite(send, 400, token, name, str(error))
            return
        session = begin_session(user.name, user.stamp, self._clock())
        await _go(send, "/", await entry.make_cookie(scope, session))

    async def _invite(
        self, send: Send, status: int, token: str, name: str, error: str = ""
    ) -> None:
        page = render("invite.html", token=token, name=name, error=error)
        await _reply(send, status, page)

    @asynccontextmanager
    async def _turn(self, scope: Scope) -> AsyncGenerator[None]:
        """That of the address, for one password. Raises ApiError 429."""
        try:
            async with self._slots.hold(1, tenant=network_of(scope["client"])):
                yield
        except QueueFull:
            raise _busy() from None


def read_any(scope: Scope) -> dict[str, str]:
    """The query as it is: a provider may send more than is known (OAuth 2.0, section 4.1.2)."""
    return dict(QueryParams(scope.get("query_string", b"")[:8000].decode(errors="replace")))


def _busy() -> ApiError:
    return too_many("Too many sign in at once.", "queue", 2.0)


async def _reply(send: Send, status: int, page: str, *cookies: tuple[bytes, bytes]) -> None:
    await reply(send, status, page.encode(), (*HEADERS, *cookies), content_type=HTML)


async def _go(send: Send, place: str, *cookies: tuple[bytes, bytes]) -> None:
    await reply(send, 303, b"", (*HEADERS, locate(place), *cookies))
