"""Who may enter which page, and which forms are taken from whom."""

from __future__ import annotations

import hmac
import re
import time
from collections.abc import Awaitable, Callable, Collection
from typing import TypeAlias
from urllib.parse import parse_qs, quote, urlsplit

from starlette.datastructures import Headers
from starlette.requests import cookie_parser
from starlette.types import ASGIApp, Receive, Scope, Send

from liveweights.access.audit import OPERATOR_KEY
from liveweights.access.oidc import CALLBACK, PLACE, Provider
from liveweights.access.roles import Role
from liveweights.access.sessions import (
    ERRAND_SECONDS,
    SECONDS,
    Session,
    form_token,
    open_errand,
    open_session,
    seal_errand,
    seal_session,
)
from liveweights.access.users import UnknownUser, find_user, has_users, read_secret
from liveweights.console.headers import HEADERS, HTML, locate
from liveweights.console.person import Person
from liveweights.console.templates import render
from liveweights.http.authentication import Authenticator, bearer
from liveweights.http.errors import ApiError
from liveweights.http.glance import Glance
from liveweights.http.hosts import is_loopback
from liveweights.http.wire import LARGEST_FORM, read_body, read_form, reply
from liveweights.serve.api.settings import ApiSettings
from liveweights.store.database import Pool

TOKEN = "csrf"
"""The field of every form that changes something."""
GUEST = "guest"
Refuse: TypeAlias = Callable[[Scope, Send, ApiError], Awaitable[None]]
_PLACE = re.compile(r"/(?![/\\])[^\s\\\x00-\x1f]{0,1000}")
_CHALLENGE = (b"www-authenticate", b'Basic realm="liveweights", charset="UTF-8"')


class Entry:
    """Knows people by a session, or by the operator's key in each request (any user name). As long
    as nobody has a password, whoever is on this machine may look, where the API asks nobody on it
    for a key either and no ``provider`` says who people are."""

    def __init__(
        self,
        pool: Pool,
        authenticator: Authenticator,
        settings: ApiSettings,
        clock: Callable[[], float] = time.time,
        *,
        provider: Provider | None = None,
    ) -> None:
        self.pool = pool
        self.authenticator = authenticator
        self.provider = provider
        self._here = is_loopback(settings.host) and not settings.open
        self._clock = clock
        self._secret: bytes | None = None
        self._has_users = Glance(self._look)

    async def _look(self) -> bool:
        async with self.pool.connection() as conn:
            return await has_users(conn)

    async def secret(self) -> bytes:
        """By what sessions and forms are signed."""
        if self._secret is None:
            async with self.pool.connection() as conn:
                self._secret = await read_secret(conn)
        return self._secret

    async def is_open(self) -> bool:
        """Whether everybody who reaches the service may look."""
        keyed = self.authenticator.has_operator or self.authenticator.asks_for_keys
        known = keyed or self.provider is not None
        return self._here and not known and not await self._has_users()

    async def _check(
        self, scope: Scope, person: Person | None, needed: Role, tenants: bool
    ) -> None:
        """Raises ApiError 401, 403 where ``person`` may not see a page; ``tenants``: one that users
        of one tenant may see, too."""
        if person is None:
            headers = (_CHALLENGE,) if self.authenticator.has_operator else ()
            message = "Sign in at /login; a program sends the operator's key, [api] operator_key."
            raise ApiError(401, message, code="not_signed_in", headers=headers)
        if not person.may(needed):
            hint = (
                "the first admin is made by the link that was printed at the start"
                if person.known == "place"
                else f"you are {person.name}, {person.role}"
            )
            message = f"This needs the role {needed}: {hint}."
            raise ApiError(403, message, code="role_not_enough")
        if person.tenant is not None and not tenants:
            message = "This is about all tenants; you see your own answers only, at /answers."
            raise ApiError(403, message, code="other_tenants")

    async def may(self, scope: Scope, needed: Role = "viewer", tenants: bool = False) -> bool:
        """Whether who asked may see the page now, as ``guard`` has it."""
        try:
            await self._check(scope, await self.recognise(scope), needed, tenants)
        except ApiError:
            return False
        return True

    async def recognise(self, scope: Scope) -> Person | None:
        """Who asks; None for nobody. Raises ApiError 401 for a wrong key."""
        headers = Headers(scope=scope)
        if "authorization" in headers:
            await self.authenticator.check_operator(scope)
            token = None if bearer(headers) else form_token(self._of_key(), await self.secret())
            return Person(name=OPERATOR_KEY, role="admin", known="key", token=token)
        if (person := await self._by_session(scope)) is not None:
            return person
        if await self.is_open():
            return Person(name=GUEST, role="viewer", known="place")
        return None

    async def _by_session(self, scope: Scope) -> Person | None:
        sent = cookie_parser(Headers(scope=scope).get("cookie", "")).get(cookie_name(scope))
        if sent is None:
            return None
        secret = await self.secret()
        session = open_session(sent, secret, self._clock())
        if session is None:
            return None
        token = form_token(session.id, secret)
        if not session.name:
            if not self.authenticator.has_operator or session.version != await self.version():
                return None
            return Person(name=OPERATOR_KEY, role="admin", known="session", token=token)
        try:
            async with self.pool.connection() as conn:
                user = await find_user(conn, session.name)
        except UnknownUser:
            return None
        if user.stamp != session.version:
            return None
        return Person(
            name=user.name, role=user.role, known="session", tenant=user.tenant, token=token
        )

    def _of_key(self) -> str:
        return "key " + self.authenticator.operator_digest

    async def version(self) -> str:
        """Of sessions of the operator's key: they end with it."""
        return form_token("session of " + self._of_key(), await self.secret())

    async def read_form(
        self, scope: Scope, receive: Receive, person: Person, known: Collection[str]
    ) -> dict[str, str]:
        """The form that this person sent. Raises ApiError 403 for one of another site, or without
        its token; else as ``http.wire.read_form``."""
        check_origin(Headers(scope=scope))
        form = await read_form(scope, receive, (*known, TOKEN))
        given = form.pop(TOKEN, "")
        wanted = person.token
        if wanted is not None and not hmac.compare_digest(given.encode(), wanted.encode()):
            message = "The form is not one of these pages, or is older than you signed in."
            raise ApiError(403, f"{message} Load the page again.", code="wrong_token")
        return form

    async def make_cookie(self, scope: Scope, session: Session) -> tuple[bytes, bytes]:
        """The header by which a browser keeps the session: no script reads it, and no other site's
        form comes with it."""
        text = seal_session(session, await self.secret())
        return _cookie(cookie_name(scope), text, SECONDS, secure=self._is_secure(scope))

    async def make_errand(self, scope: Scope, content: bytes) -> tuple[bytes, bytes]:
        """The header by which a browser keeps something for a few minutes that it cannot change."""
        text = seal_errand(content, await self.secret(), self._clock())
        return _cookie(_errand_name(scope), text, ERRAND_SECONDS, secure=self._is_secure(scope))

    def _is_secure(self, scope: Scope) -> bool:
        """Whether the browser uses TLS. Where that ends in front of the service the browser still
        says so with a form; without one it is known of whoever is at the URL that the provider
        sends people back to."""
        headers = Headers(scope=scope)
        if scope.get("scheme") == "https" or headers.get("origin", "").startswith("https://"):
            return True
        url = urlsplit(self.provider.settings.url if self.provider else "")
        there = scope["path"] in (PLACE, CALLBACK) or headers.get("host") == url.netloc
        return url.scheme == "https" and there

    async def read_errand(self, scope: Scope) -> bytes | None:
        """What ``make_errand`` gave to this browser; None where that is over, or was another's."""
        sent = cookie_parser(Headers(scope=scope).get("cookie", "")).get(_errand_name(scope))
        return None if sent is None else open_errand(sent, await self.secret(), self._clock())

    def guard(
        self,
        endpoint: ASGIApp,
        needed: Role = "viewer",
        tenants: bool = False,
        *,
        refuse: Refuse | None = None,
    ) -> ASGIApp:
        """``endpoint`` for those who may, with who asks as ``scope["person"]``. A browser that
        nobody has signed in with is shown where to; what somebody asked for in vain ``refuse`` says
        on a page."""

        async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
            person = await self.recognise(scope)
            known = {**scope, "person": person}
            browses = "text/html" in Headers(scope=scope).get("accept", "")
            try:
                await self._check(scope, person, needed, tenants)
            except ApiError as error:
                if place := _elsewhere(scope, error):
                    status = 303 if place[0] == b"location" else 401
                    await reply(send, status, b"", (*HEADERS, place))
                elif browses and person is None:
                    await self._ask_again(scope, receive, send)
                elif browses and refuse:
                    await refuse(known, send, error)
                else:
                    raise
                return
            try:
                await endpoint(known, receive, send)
            except ApiError as error:
                if not (browses and refuse):
                    raise
                await refuse(known, send, error)

        return guarded

    async def _ask_again(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The page that signs in for who sent a form and is signed in no more, with the words that
        would be lost. Raises ApiError 403 for another site's, 413."""
        headers = Headers(scope=scope)
        check_origin(headers)
        sent = parse_qs((await read_body(scope, receive, LARGEST_FORM)).decode(errors="replace"))
        came = headers.get("referer", "")
        place = urlsplit(came).path if is_at(came, headers.get("host", "")) else "/"
        message = "You are signed in no more. Sign in, and send it again."
        await self.show_login(
            send, 401, place_of(place), message, text="".join(sent.get("text", ()))
        )

    async def show_login(
        self,
        send: Send,
        status: int,
        place: str,
        error: str,
        *headers: tuple[bytes, bytes],
        text: str = "",
    ) -> None:
        """The page that signs in and goes on to ``place``; with a ``text`` that was not taken."""
        async with self.pool.connection() as conn:
            anybody = await has_users(conn)
        page = render(
            "login.html",
            place=place,
            error=error,
            text=text,
            anybody=anybody,
            keyed=self.authenticator.has_operator,
            elsewhere=self.provider.settings.name if self.provider else None,
        )
        await reply(send, status, page.encode(), (*HEADERS, *headers), content_type=HTML)


def _elsewhere(scope: Scope, error: ApiError) -> tuple[bytes, bytes] | None:
    """The header that tells a browser where to go on that may not see a page; None for who is no
    browser."""
    headers = Headers(scope=scope)
    if error.code == "other_tenants" and scope["path"] == "/":
        return b"location", b"/answers"
    if error.status != 401 or "authorization" in headers:
        return None
    if "hx-request" in headers:
        return b"hx-redirect", b"/login"
    if scope["method"] in ("GET", "HEAD") and "text/html" in headers.get("accept", ""):
        query: bytes = scope.get("query_string", b"")
        asked = quote(scope["path"]).encode() + (b"?" + query if query else b"")
        # A cut may go through a character.
        kept = asked[:1000].decode(errors="ignore")
        to = "/login" if asked == b"/" else f"/login?next={quote(kept, safe='/')}"
        return locate(to)
    return None


def place_of(asked: str | None) -> str:
    """Where to go on: a page of this service; the first one for anything else."""
    return asked if asked is not None and _PLACE.fullmatch(asked) else "/"


def drop_cookie(scope: Scope) -> tuple[bytes, bytes]:
    """The header by which a browser forgets the session."""
    return _cookie(cookie_name(scope), "", 0)


def drop_errand(scope: Scope) -> tuple[bytes, bytes]:
    """The header by which a browser forgets what ``Entry.make_errand`` gave it."""
    return _cookie(_errand_name(scope), "", 0)


def cookie_name(scope: Scope) -> str:
    """Of the port, too: browsers send a cookie to every port of a host."""
    server = scope.get("server")
    return f"liveweights_{server[1] if server else 0}"


def _errand_name(scope: Scope) -> str:
    return f"{cookie_name(scope)}_errand"


def _cookie(name: str, text: str, seconds: int, *, secure: bool = False) -> tuple[bytes, bytes]:
    parts = [f"{name}={text}", "Path=/", "HttpOnly", "SameSite=Lax"]
    parts += [f"Max-Age={seconds}", *(["Secure"] if secure else [])]
    return b"set-cookie", "; ".join(parts).encode()


def check_origin(headers: Headers) -> None:
    """Raises ApiError 403 for another site's form: a browser sends the password with it, too."""
    origin, site = headers.get("origin"), headers.get("sec-fetch-site", "same-origin")
    host = headers.get("host", "")
    message = "The form is not one of these pages."
    if site not in ("same-origin", "none"):
        raise ApiError(403, message, code="wrong_origin")
    if origin is not None and not is_at(origin, host):
        message += (
            f" The browser is at {origin[:200]}, and the request came for {host[:200]}: a proxy"
            " between them has to pass the Host header on (nginx: proxy_set_header Host"
            " $http_host)."
        )
        raise ApiError(403, message, code="wrong_origin")


def is_at(address: str, host: str) -> bool:
    """Whether a URL is one of what is reached by this Host header; either may say the port that
    its scheme has anyhow."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return False
    port = {"http": ":80", "https": ":443"}.get(parts.scheme, "")
    return parts.netloc.removesuffix(port).lower() == host.removesuffix(port).lower() != ""
