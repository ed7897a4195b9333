from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from liveweights.config import Config
from liveweights.http.application import Application
from liveweights.http.hosts import Hosts
from liveweights.release import aliases
from liveweights.release.console import release_routes
from liveweights.serve.api.app import make_authenticator
from liveweights.serve.api.metrics import Metrics
from liveweights.serve.api.settings import ApiSettings
from liveweights.store.database import Connection, open_pool

from .test_aliases import A, B, with_alias

KEY = "s3cret-0123456789"
OPERATOR = Config(alias="m", api=ApiSettings(operator_key=KEY))
LOGIN = ("anyone", KEY)


def on_pages(
    dsn: str, test: Callable[[httpx.AsyncClient], Awaitable[None]], config: Config = OPERATOR
) -> None:
    """Runs ``test`` with B live, promoted from A."""

    async def release(conn: Any) -> None:
        await aliases.promote(conn, "m", B, reason="<b>better</b>")

    with_alias(dsn, release)

    async def go() -> None:
        pool = await open_pool(dsn)
        routes = release_routes(pool, config.rewards_by_alias(), make_authenticator(config.api))
        transport = httpx.ASGITransport(Application(routes, Metrics(), Hosts(())))
        async with httpx.AsyncClient(transport=transport, base_url="http://here:8090") as client:
            await test(client)
        await pool.close()

    asyncio.run(go())


async def live(client: httpx.AsyncClient) -> str:
    page = (await client.get("/releases", auth=LOGIN)).text
    found = re.search(r'verdict"><a href="/releases/[^"]*">([^<]*)</a> is live', page)
    assert found is not None
    return found[1]


def test_one_click_goes_back(database_dsn: str) -> None:
    async def test(client: httpx.AsyncClient) -> None:
        page = (await client.get("/releases", auth=LOGIN)).text
        assert "&lt;b&gt;better&lt;/b&gt;" in page
        assert await live(client) == B
        assert page.count("<button>") == 1
        form = dict(re.findall(r'name="(\w+)" value="([^"]*)"', page))
        assert form["to"] == A
        done = await client.post("/releases/rollback", data=form, auth=LOGIN)
        assert (done.status_code, done.headers["location"]) == (303, "/releases?model=m")
        assert await live(client) == A
        again = await client.post("/releases/rollback", data=form, auth=LOGIN)
        assert again.status_code == 409  # the page is older than the alias
        assert await live(client) == A

    on_pages(database_dsn, test)


def test_what_was_pruned_is_not_offered(database_dsn: str) -> None:
    async def prune() -> None:
        async with await Connection.connect(database_dsn) as conn:
            await conn.execute("update checkpoints set pruned_at = now() where id = %s", (A,))

    async def test(client: httpx.AsyncClient) -> None:
        await prune()
        page = (await client.get("/releases", auth=LOGIN)).text
        assert "<button>" not in page
        assert "Nothing that was live before" in page

    on_pages(database_dsn, test)


def test_a_scorecard_for_people_and_for_programs(database_dsn: str) -> None:
    async def test(client: httpx.AsyncClient) -> None:
        client.headers["authorization"] = f"Bearer {KEY}"
        page = await client.get(f"/releases/{B}")
        assert page.headers["content-type"].startswith("text/html")
        assert f"<h1>{B}</h1>" in page.text
        assert (await client.get(f"/releases/{B}.json")).json()["checkpoint"] == B
        assert (await client.get(f"/releases/{B}.md")).text.startswith(f"# {B}")
        missing = await client.get("/releases/nothing@000000000000")
        assert missing.status_code == 404
        assert "nothing@000000000000" in missing.json()["error"]["message"]

    on_pages(database_dsn, test)


def test_nobody_else_sees_or_changes_anything(database_dsn: str) -> None:
    async def test(client: httpx.AsyncClient) -> None:
        for auth in (None, ("anyone", "wrong"), (KEY, "")):
            for answer in (
                await client.get("/releases", auth=auth),
                await client.get(f"/releases/{B}", auth=auth),
                await client.post("/releases/rollback", data={"to": A}, auth=auth),
            ):
                assert answer.status_code == 401
                assert answer.headers["www-authenticate"].startswith("Basic")
        broken = await client.get("/releases", headers={"authorization": "Basic ???"})
        assert broken.status_code == 401
        # Another site's form, with the password that the browser keeps.
        forged = await client.post(
            "/releases/rollback",
            data={"to": A},
            auth=LOGIN,
            headers={"origin": "http://evil.example"},
        )
        assert forged.status_code == 403
        assert await live(client) == B
        own = await client.post(
            "/releases/rollback", auth=LOGIN, headers={"origin": "http://here:8090"}
        )
        assert own.status_code == 303
        assert await live(client) == A

    on_pages(database_dsn, test)


@pytest.mark.parametrize(
    ("form", "status", "words"),
    [
        ({"to": "nothing@000000000000"}, 409, "is registered"),
        ({"version": "one"}, 400, "it is a number"),
        ({"to": A, "version": "1"}, 409, ""),
    ],
)
def test_what_cannot_be_done_says_why(
    database_dsn: str, form: dict[str, str], status: int, words: str
) -> None:
    async def test(client: httpx.AsyncClient) -> None:
        answer = await client.post("/releases/rollback", data=form, auth=LOGIN)
        assert answer.status_code == status
        assert words in answer.json()["error"]["message"]
        assert (await client.put("/releases", auth=LOGIN)).status_code == 405
        assert await live(client) == B

    on_pages(database_dsn, test)


def test_without_a_key_there_are_no_pages(database_dsn: str) -> None:
    async def test(client: httpx.AsyncClient) -> None:
        assert (await client.get("/releases")).status_code == 404

    on_pages(database_dsn, test, Config(alias="m"))


def test_other_paths_are_not_the_operators(database_dsn: str) -> None:
    async def test(client: httpx.AsyncClient) -> None:
        assert (await client.get("/v1/models")).status_code == 404
        assert (await client.get("/releasesx")).status_code == 404

    on_pages(database_dsn, test)


def test_no_page_of_another_site_can_show_or_use_these(database_dsn: str) -> None:
    async def test(client: httpx.AsyncClient) -> None:
        for path in ("/releases", f"/releases/{B}", f"/releases/{B}.json", f"/releases/{B}.md"):
            answer = await client.get(path, auth=LOGIN)
            assert answer.headers["x-frame-options"] == "DENY"
            policy = answer.headers["content-security-policy"]
            assert "frame-ancestors 'none'" in policy
            assert "default-src 'none'" in policy
            assert answer.headers["cache-control"] == "no-store"
        for headers in (
            {"origin": "null"},
            {"origin": "http://here"},
            {"sec-fetch-site": "cross-site"},
            {"sec-fetch-site": "same-site"},
        ):
            forged = await client.post(
                "/releases/rollback", data={"to": A}, auth=LOGIN, headers=headers
            )
            assert (forged.status_code, forged.json()["error"]["code"]) == (403, "wrong_origin")
        plain = await client.post("/releases/rollback", content="to=x", auth=LOGIN)
        assert plain.status_code == 415
        rebound = await client.get("/releases", auth=LOGIN, headers={"host": "evil.example"})
        assert rebound.status_code == 421
        assert await live(client) == B

    on_pages(database_dsn, test)
