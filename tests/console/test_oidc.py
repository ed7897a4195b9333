"""Signing in to the console with OpenID Connect, at a real provider."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import msgspec
import pytest

pytest.importorskip("authlib", reason="pip install 'liveweights[oidc]'")

from joserfc.jwk import OctKey, RSAKey
from tests.access import provider as providers
from tests.access.provider import CLIENT, PERSON, SECRET

from liveweights.access.oidc import OidcUnavailable, Provider
from liveweights.access.oidc_settings import OidcSettings
from liveweights.access.users import (
    accept_invitation,
    add_user,
    invite_first,
    remove_user,
    set_role,
)
from liveweights.record.writer import Writer
from liveweights.store.database import Pool, open_pool

from .people import BROWSER, token_of
from .story import make_console, tell

HERE = "http://here:8090"
ADA = PERSON
Test = Callable[[httpx.AsyncClient, Pool, providers.Provider], Awaitable[None]]


def on_provider(dsn: str, test: Test, **said: Any) -> None:
    """Runs ``test`` with a browser, the pool and the provider."""

    async def go() -> None:
        pool = await open_pool(dsn)
        await tell(pool, datetime.now(UTC), answers=3)
        with providers.running() as provider:
            settings = OidcSettings(
                **{
                    "issuer": provider.issuer,
                    "client_id": CLIENT,
                    "client_secret": SECRET,
                    "url": HERE,
                    "name": "<i>Acme</i>",
                    **said,
                }
            )
            async with Writer(pool, linger=0.0) as writer:
                _, app = make_console(pool, writer, "", provider=Provider(settings))
                transport = httpx.ASGITransport(app)
                async with httpx.AsyncClient(transport=transport, base_url=HERE) as browser:
                    await test(browser, pool, provider)
        await pool.close()

    asyncio.run(go())


async def sign_in(browser: httpx.AsyncClient, place: str = "/cycles") -> httpx.Response:
    """To the provider and back, as a browser goes."""
    leave = await browser.get("/login/oidc", params={"next": place})
    assert leave.status_code == 303, leave.text
    async with httpx.AsyncClient() as outside:
        back = await outside.get(leave.headers["location"])
    assert back.status_code == 302
    return await browser.get(back.headers["location"].removeprefix(HERE))


async def add(pool: Pool, name: str = ADA, **said: Any) -> None:
    async with pool.connection() as conn:
        await add_user(conn, name, **{"role": "operator", **said})


def test_who_is_known_to_the_provider_and_here_signs_in(database_dsn: str) -> None:
    async def test(browser: httpx.AsyncClient, pool: Pool, provider: providers.Provider) -> None:
        await add(pool)
        closed = await browser.get("/cycles?before=9", headers=BROWSER)
        assert closed.headers["location"] == "/login?next=/cycles%3Fbefore%3D9"
        page = await browser.get("/login?next=/cycles")
        assert "Sign in with &lt;i&gt;Acme" in page.text
        assert 'href="/login/oidc?next=%2Fcycles"' in page.text or "next=/cycles" in page.text
        entered = await sign_in(browser)
        assert (entered.status_code, entered.headers["location"]) == (303, "/cycles")
        cookies = entered.headers.get_list("set-cookie")
        assert all("HttpOnly" in one and "SameSite=Lax" in one for one in cookies)
        shown = await browser.get("/cycles", headers=BROWSER)
        assert ADA in shown.text
        assert (await browser.get("/users.json")).status_code == 403  # the role is the user's
        again = await sign_in(browser, "//evil")
        assert again.headers["location"] == "/"
        assert provider.asked.count("/.well-known/openid-configuration") == 1
        async with pool.connection() as conn:
            await set_role(conn, ADA, "viewer")
        assert (await browser.get("/cycles.json")).status_code == 401
        await sign_in(browser)
        assert (await browser.get("/cycles.json")).status_code == 200
        async with pool.connection() as conn:
            await remove_user(conn, ADA)
        assert (await browser.get("/cycles.json")).status_code == 401
        assert (await sign_in(browser)).status_code == 403

    on_provider(database_dsn, test)


def test_the_last_admin_stays_who_signs_in_by_the_provider(database_dsn: str) -> None:
    async def test(browser: httpx.AsyncClient, pool: Pool, provider: providers.Provider) -> None:
        await add(pool, role="admin")
        await sign_in(browser)
        form = {"csrf": token_of((await browser.get("/users")).text), "name": ADA}
        for change in ({"do": "remove"}, {"do": "change", "role": "viewer"}):
            kept = await browser.post("/users", data=form | change)
            assert (kept.status_code, "last admin" in kept.text) == (409, True)
        await add(pool, "bob@example.com", role="admin")
        assert (await browser.post("/users", data=form | {"do": "remove"})).status_code == 303

    on_provider(database_dsn, test)


def test_where_tls_ends_before_the_service_the_cookies_stay_in_it(database_dsn: str) -> None:
    async def test(browser: httpx.AsyncClient, pool: Pool, provider: providers.Provider) -> None:
        await add(pool)
        leave = await browser.get("/login/oidc")
        async with httpx.AsyncClient() as outside:
            back = (await outside.get(leave.headers["location"])).headers["location"]
        # What the proxy passes on: no TLS, and a browser that follows a link says no origin.
        errand = leave.headers["set-cookie"].partition(";")[0]
        asked = back.removeprefix("https://here:8090")
        entered = await browser.get(asked, headers={"cookie": errand})
        assert entered.status_code == 303
        kept = [one for one in entered.headers.get_list("set-cookie") if "Max-Age=0" not in one]
        for cookie in (leave.headers["set-cookie"], *kept):
            assert "Secure" in cookie.split("; ")

    on_provider(database_dsn, test, url="https://here:8090")


def test_a_user_of_one_tenant_stays_one(database_dsn: str) -> None:
    async def test(browser: httpx.AsyncClient, pool: Pool, provider: providers.Provider) -> None:
        await add(pool, "17", role="viewer", tenant="acme")
        assert (await sign_in(browser, "/answers")).headers["location"] == "/answers"
        assert (await browser.get("/answers.json")).json()["answers"] == []
        assert (await browser.get("/cycles.json")).status_code == 403

    on_provider(database_dsn, test, claim="sub")


@pytest.mark.parametrize(
    ("wrong", "status", "words"),
    [
        ({"claims": {"iss": "https://evil.test"}}, 401, "iss"),
        ({"claims": {"aud": "another"}}, 401, "aud"),
        ({"claims": {"aud": [CLIENT, "another"], "azp": "another"}}, 401, "azp"),
        ({"claims": {"nonce": "another"}}, 401, "nonce"),
        ({"claims": {"nonce": None}}, 401, "nonce"),
        ({"claims": {"exp": 1577836800}}, 401, "expired"),
        ({"claims": {"exp": None}}, 401, "exp"),
        ({"claims": {"iat": 4102444800}}, 401, "does not hold"),
        ({"claims": {"email": "eve@acme.test"}}, 403, "no user"),
        ({"claims": {"email": None}}, 401, "does not say your email"),
        ({"claims": {"email_verified": False}}, 401, "not verified"),
        ({"claims": {"email_verified": "true"}}, 401, "not verified"),
        ({"claims": {"at_hash": "x"}}, 401, "at_hash"),
        ({"signs_with": RSAKey.generate_key(2048)}, 401, "does not hold"),
        (
            {
                "signs_with": OctKey.import_key(SECRET * 4),
                "header": {"alg": "HS256", "kid": "one"},
            },
            401,
            "does not hold",
        ),
        ({"refuses": "access_denied"}, 401, "access_denied"),
        ({"says": {"token_endpoint": "http://127.0.0.1:9/token"}}, 401, "cannot be reached"),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, dict) else "",
)
def test_what_does_not_hold_signs_nobody_in(
    database_dsn: str, wrong: dict[str, Any], status: int, words: str
) -> None:
    async def test(browser: httpx.AsyncClient, pool: Pool, provider: providers.Provider) -> None:
        await add(pool)
        for name, value in wrong.items():
            setattr(provider, name, value)
        refused = await sign_in(browser)
        assert refused.status_code == status
        assert words in refused.text
        assert "<b>no</b>" not in refused.text
        assert (await browser.get("/cycles.json")).status_code == 401
        assert not any(value for name, value in browser.cookies.items())

    on_provider(database_dsn, test)


def test_nobody_signs_in_as_the_admin_whom_a_start_made(database_dsn: str) -> None:
    async def test(browser: httpx.AsyncClient, pool: Pool, provider: providers.Provider) -> None:
        provider.person["preferred_username"] = "admin"
        async with pool.connection() as conn:
            link = await invite_first(conn)
        assert link is not None
        refused = await sign_in(browser)
        assert (refused.status_code, "Nobody added" in refused.text) == (403, True)
        async with pool.connection() as conn:
            await accept_invitation(conn, link, "hash")
        assert (await sign_in(browser)).status_code == 403
        async with pool.connection() as conn:
            await add_user(conn, "root", "admin")
        provider.person["preferred_username"] = "root"
        assert (await sign_in(browser)).status_code == 303

    on_provider(database_dsn, test, claim="preferred_username")


def test_who_signs_in_elsewhere_is_not_told_of_a_link(database_dsn: str) -> None:
    async def test(browser: httpx.AsyncClient, pool: Pool, provider: providers.Provider) -> None:
        assert "invite admin" not in (await browser.get("/login")).text

    on_provider(database_dsn, test)


def test_only_the_browser_that_began_comes_back_and_only_once(database_dsn: str) -> None:
    async def test(browser: httpx.AsyncClient, pool: Pool, provider: providers.Provider) -> None:
        await add(pool)
        leave = await browser.get("/login/oidc")
        async with httpx.AsyncClient() as outside:
            back = (await outside.get(leave.headers["location"])).headers["location"]
        path = back.removeprefix(HERE)
        kept = dict(browser.cookies)
        browser.cookies.clear()
        assert (await browser.get(path)).status_code == 401  # another browser
        browser.cookies.update({name: value[:-4] + "AAAA" for name, value in kept.items()})
        assert (await browser.get(path)).status_code == 401  # a forged cookie
        browser.cookies.clear()
        browser.cookies.update(kept)
        other = path.replace("state=", "state=x")
        assert "another question" in (await browser.get(other)).text
        browser.cookies.clear()
        browser.cookies.update(kept)
        assert (await browser.get(path)).status_code == 303
        browser.cookies.clear()
        browser.cookies.update(kept)
        assert (await browser.get(path)).status_code == 401  # the code is used up

    on_provider(database_dsn, test)


def test_who_says_that_it_is_another_is_not_asked(database_dsn: str) -> None:
    async def test(browser: httpx.AsyncClient, pool: Pool, provider: providers.Provider) -> None:
        provider.says = {"issuer": "https://evil.test"}
        refused = await browser.get("/login/oidc")
        assert (refused.status_code, "evil.test" in refused.text) == (502, True)
        assert "set-cookie" not in refused.headers
        provider.says = {"jwks_uri": "file:///etc/passwd"}
        assert (await browser.get("/login/oidc")).status_code == 502
        provider.says = {}
        assert (await browser.get("/login/oidc")).status_code == 303

    on_provider(database_dsn, test)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"issuer": "http://idp.acme.test", "client_id": "x", "url": HERE}, "https://"),
        ({"issuer": "https://idp.acme.test", "url": HERE}, "client_id"),
        ({"issuer": "https://idp.acme.test", "client_id": "x"}, "url"),
    ],
)
def test_settings_that_are_not_whole_are_refused(settings: dict[str, str], words: str) -> None:
    with pytest.raises(OidcUnavailable, match=words):
        Provider(msgspec.convert(settings, OidcSettings))
