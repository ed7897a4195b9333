"""Who may see what, and change what."""

from __future__ import annotations

import asyncio
import re
from urllib.parse import parse_qs, unquote, urlsplit

import httpx
import pytest
from tests.release.test_aliases import A, B

from liveweights.access.audit import Event, read_entries, write_entry
from liveweights.access.users import invite_first, remove_user, set_role
from liveweights.console import live
from liveweights.console.entry import place_of
from liveweights.store.database import Pool

from .people import BEARER, BROWSER, OWN, PASSWORD, accept, enter, token_of
from .story import KEY, LOGIN, app_of, on_pages


def test_the_first_start_lets_look_until_somebody_has_a_password(database_dsn: str) -> None:
    async def test(client: httpx.AsyncClient, pool: Pool, cycle: int) -> None:
        page = await client.get("/", headers=BROWSER)
        assert "nobody has a password yet" in page.text
        assert 'form method="post"' not in (await client.get("/releases")).text
        denied = await client.post("/releases/rollback", data={"to": A})
        assert (denied.status_code, denied.json()["error"]["code"]) == (403, "role_not_enough")
        assert "link that was printed" in (await client.get("/users", headers=BROWSER)).text
        assert (await client.get("/users", headers=BROWSER)).status_code == 403
        async with pool.connection() as conn:
            token = await invite_first(conn)
        assert token is not None
        shown = await client.get("/invite", params={"token": token})
        assert '<b dir="auto">admin</b>' in shown.text
        for password, again, words in (
            ("short", "short", "at least 12"),
            (PASSWORD, PASSWORD + "x", "differ"),
        ):
            sent = {"token": token, "password": password, "again": again}
            weak = await client.post("/invite", data=sent)
            assert (weak.status_code, words in weak.text) == (400, True)
        foreign = await client.post("/invite", headers={"origin": "http://evil"})
        assert foreign.status_code == 403
        entered = await accept(client, token)
        assert (entered.status_code, entered.headers["location"]) == (303, "/")
        cookie = entered.headers["set-cookie"]
        assert {"HttpOnly", "SameSite=Lax", "Path=/"} <= set(cookie.split("; "))
        assert "Secure" not in cookie  # the browser said http
        assert (await client.get("/users", headers=BROWSER)).status_code == 200
        assert (await accept(client, token)).status_code == 404
        client.cookies.clear()
        # Within the second for which it is remembered that nobody had one.
        await asyncio.sleep(1.1)
        outside = await client.get("/answers?user=x", headers=BROWSER)
        assert outside.status_code == 303
        assert outside.headers["location"] == "/login?next=/answers%3Fuser%3Dx"
        assert (await client.get("/answers.json")).status_code == 401
        partial = await client.get("/answers", headers=BROWSER | {"hx-request": "true"})
        assert (partial.status_code, partial.headers["hx-redirect"]) == (401, "/login")

    on_pages(database_dsn, test, key="", answers=3)


def test_a_user_signs_in_and_out(database_dsn: str) -> None:
    async def test(client: httpx.AsyncClient, pool: Pool, cycle: int) -> None:
        await enter(client, pool, "<script>ada", "operator")
        client.cookies.clear()
        form = {"name": "<script>ada", "password": PASSWORD, "next": "/cycles"}
        for wrong in ({"password": "wrong"}, {"name": "nobody"}, {"name": ""}):
            refused = await client.post("/login", data=form | wrong, headers=OWN)
            assert (refused.status_code, "set-cookie" in refused.headers) == (401, False)
            assert "No user has this name" in refused.text
        forged = await client.post("/login", data=form, headers={"origin": "http://evil"})
        assert forged.status_code == 403
        entered = await client.post("/login", data=form, headers={"origin": "http://here:8090"})
        assert (entered.status_code, entered.headers["location"]) == (303, "/cycles")
        page = (await client.get("/cycles", headers=BROWSER)).text
        assert "&lt;script&gt;ada" in page
        assert "<script>ada" not in page
        assert (await client.post("/logout", data={"csrf": "x"})).status_code == 403
        left = await client.post("/logout", data={"csrf": token_of(page)})
        assert (left.status_code, left.headers["location"]) == (303, "/login")
        assert (await client.get("/cycles.json")).status_code == 401
        # Behind TLS the cookie stays there.
        secure = await client.post("/login", data=form, headers={"origin": "https://here:8090"})
        assert "; Secure" in secure.headers["set-cookie"]
        # The operator's key is a password, too.
        client.cookies.clear()
        await client.post("/login", data={"name": "x", "password": KEY})
        assert (await client.get("/users.json")).status_code == 200

    on_pages(database_dsn, test, answers=3)


def test_a_change_needs_the_role_and_the_token_of_its_form(database_dsn: str) -> None:
    async def test(client: httpx.AsyncClient, pool: Pool, cycle: int) -> None:
        await enter(client, pool, "ada", "rater")
        assert "That is for operators" in (await client.get("/releases")).text
        token = token_of((await client.get("/releases")).text)
        form = {"to": A, "reason": "<b>worse</b>", "csrf": token}
        assert (await client.post("/releases/rollback", data=form)).status_code == 403
        for path in ("/users", "/users.json", "/audit", "/audit.json"):
            assert (await client.get(path)).status_code == 403
        await enter(client, pool, "bob", "operator")
        for wrong in ({}, {"csrf": ""}, {"csrf": token}, {"csrf": "\u20ac"}):
            sent = {"to": A, "reason": "x"} | wrong
            forged = await client.post("/releases/rollback", data=sent)
            assert (forged.status_code, forged.json()["error"]["code"]) == (403, "wrong_token")
        basic = await client.post("/releases/rollback", data={"to": A}, auth=LOGIN)
        assert basic.json()["error"]["code"] == "wrong_token"
        assert (await client.get("/releases.json")).json()["live"] == B
        form["csrf"] = token_of((await client.get("/releases")).text)
        assert (await client.post("/releases/rollback", data=form, headers=OWN)).status_code == 303
        assert (await client.get("/releases.json")).json()["live"] == A
        # Another role, or none any more, counts from the next request on.
        async with pool.connection() as conn:
            await set_role(conn, "bob", "viewer")
        assert (await client.get("/releases.json")).status_code == 401
        entries = (await client.get("/audit.json", headers=BEARER)).json()["entries"]
        done = next(one for one in entries if one["action"] == "roll back")
        assert (done["actor"], done["target"]) == ("bob", "m")
        assert done["details"] == {"to": A, "reason": "<b>worse</b>"}
        page = (await client.get("/audit", headers=BEARER)).text
        assert "&lt;b&gt;worse" in page
        assert "<b>worse" not in page

    on_pages(database_dsn, test, answers=3)


def test_a_stream_ends_with_what_its_viewer_is_signed_in_with(
    database_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "EVERY", 0.01)

    async def remove(pool: Pool) -> None:
        async with pool.connection() as conn:
            await remove_user(conn, "ada")

    async def restrict(pool: Pool) -> None:
        async with pool.connection() as conn:
            await set_role(conn, "bob", "viewer", tenant="acme")

    async def test(client: httpx.AsyncClient, pool: Pool, cycle: int) -> None:
        for name, ending in (("ada", remove), ("bob", restrict)):
            await enter(client, pool, name, "viewer")
            # The client reads a stream to its end.
            stream = asyncio.create_task(client.get("/live"))
            await asyncio.wait([stream], timeout=0.5)
            assert not stream.done()
            await ending(pool)
            async with asyncio.timeout(60):
                assert (await stream).text.startswith("event: circle\n")

    on_pages(database_dsn, test, answers=3)


def test_an_admin_adds_changes_and_removes_people(database_dsn: str) -> None:
    async def test(client: httpx.AsyncClient, pool: Pool, cycle: int) -> None:
        await enter(client, pool, "root", "admin")
        form = {"csrf": token_of((await client.get("/users")).text)}
        add = form | {"do": "add", "name": "<i>eve</i>", "role": "viewer", "tenant": "acme"}
        told = await client.post("/users", data=add)
        link = re.search(r"http://here:8090(/invite\?token=[\w-]+)", told.text)
        assert link is not None
        assert "<i>eve" not in told.text
        assert "&lt;i&gt;eve" in (await client.get(link[1])).text
        assert (await client.post("/users", data=add)).status_code == 409
        for change, status in (
            ({"do": "change", "role": "operator"}, 303),
            ({"do": "change", "role": "operator", "tenant": "acme"}, 409),
            ({"do": "change", "role": "king"}, 400),
            ({"do": "dance"}, 400),
            ({"do": "invite"}, 200),
            ({"do": "remove"}, 303),
            ({"do": "remove"}, 404),
            ({"do": "remove", "name": "root"}, 409),
        ):
            sent = form | {"name": "<i>eve</i>"} | change
            assert (await client.post("/users", data=sent)).status_code == status, change
        (root,) = (await client.get("/users.json")).json()["users"]
        assert (root["name"], root["role"], root["has_password"]) == ("root", "admin", True)
        assert "password" not in root

    on_pages(database_dsn, test, answers=3)


def test_a_user_of_one_tenant_sees_its_answers_only(database_dsn: str) -> None:
    async def test(client: httpx.AsyncClient, pool: Pool, cycle: int) -> None:
        async with pool.connection() as conn:
            await conn.execute("update generations set tenant = 'acme' where checkpoint = %s", (B,))
        rows = (await client.get("/answers.json", headers=BEARER)).json()["answers"]
        own, others = (
            [one["id"] for one in rows if (one["tenant"] == "acme") is mine]
            for mine in (True, False)
        )
        assert (len(own), len(others)) == (1, 3)
        await enter(client, pool, "eve", "viewer", "acme")
        for query in ({}, {"tenant": "default"}, {"tenant": rows[1]["tenant"]}):
            shown = (await client.get("/answers.json", params=query)).json()
            assert [one["id"] for one in shown["answers"]] == own
        one = await client.get(f"/answers/{own[0]}.json")
        assert (one.status_code, one.json()["path"]) == (200, [])
        assert "/checkpoints" not in (await client.get(f"/answers/{own[0]}")).text
        for id in others:
            for address in (f"/answers/{id}", f"/answers/{id}.json"):
                assert (await client.get(address)).status_code == 404
        for path in ("/home.json", "/live", "/cycles", f"/cycles/{cycle}", f"/checkpoints/{B}"):
            assert (await client.get(path)).status_code == 403
        home = await client.get("/", headers=BROWSER)
        assert (home.status_code, home.headers["location"]) == (303, "/answers")
        async with pool.connection() as conn:
            await remove_user(conn, "eve")
        assert (await client.get("/answers.json")).status_code == 401

    on_pages(database_dsn, test, answers=3)


def test_a_rater_says_what_an_answer_is_worth(database_dsn: str) -> None:
    async def test(client: httpx.AsyncClient, pool: Pool, cycle: int) -> None:
        listed = (await client.get("/answers.json", headers=BEARER)).json()["answers"]
        newest, other = listed[0]["id"], listed[1]["id"]
        await enter(client, pool, "see", "viewer")
        assert "Send as a comment" not in (await client.get(f"/answers/{newest}")).text
        assert (await client.post(f"/answers/{newest}", data={"signal": "bad"})).status_code == 403
        await enter(client, pool, "ada", "rater")
        page = (await client.get(f"/answers/{newest}")).text
        form = {"csrf": token_of(page)}
        words = "<script>alert(1)</script> \u202e😀"
        for sent, status in (
            ({"signal": "bad"}, 303),
            ({"signal": "correction", "text": words}, 303),
            ({"signal": "comment"}, 400),
            ({"signal": "great"}, 400),
            ({"signal": "comment", "text": "x" * 2001}, 400),
            ({"signal": "comment", "text": "猫\r\n" * 1000}, 303),
        ):
            done = await client.post(f"/answers/{newest}", data=form | sent)
            assert done.status_code == status, sent
        assert (await client.post(f"/answers/{newest}", data={"signal": "bad"})).status_code == 403
        assert (await client.post("/answers/none", data=form | sent)).status_code in (400, 404)
        told = (await client.get(f"/answers/{newest}.json")).json()["feedback"]
        assert {(one["signal"], one["value"], one["text"]) for one in told} == {
            ("thumbs", -1.0, None),
            ("correction", None, words),
            ("comment", None, "猫\n" * 1000),
        }
        assert "<script>alert" not in (await client.get(f"/answers/{newest}")).text
        audit = (await client.get("/audit.json", headers=BEARER)).json()["entries"]
        rated = [one for one in audit if one["action"] == "rate"]
        assert [one["target"] for one in rated] == [newest] * 3
        # The audit loses nothing, so it is not told what a user may want deleted.
        assert [set(one["details"]) for one in rated] == [{"signal", "feedback"}] * 3
        await enter(client, pool, "eve", "rater", "nobody's")
        token = token_of((await client.get("/answers")).text)
        sent = {"signal": "good", "csrf": token}
        assert (await client.post(f"/answers/{other}", data=sent)).status_code == 404

    on_pages(database_dsn, test, answers=3)


@pytest.mark.parametrize(
    ("asked", "place"),
    [
        ("/answers?user=x&before=1~y", "/answers?user=x&before=1~y"),
        ("/é/evil.test", "/é/evil.test"),
        *((bad, "/") for bad in (None, "", "x", "//evil", "/\\evil", "http://evil", "/a\r\nb: c")),
    ],
)
def test_nobody_is_sent_elsewhere_after_signing_in(asked: str | None, place: str) -> None:
    assert place_of(asked) == place


def test_whoever_signs_in_comes_to_the_page_that_was_asked_for(database_dsn: str) -> None:
    async def test(client: httpx.AsyncClient, pool: Pool, cycle: int) -> None:
        await enter(client, pool, "ada", "viewer")
        client.cookies.clear()
        form = {"name": "ada", "password": PASSWORD}
        for asked in ("/invoices/M%C3%BCller/2026-10", "/%C3%A9/evil.test/login"):
            sent = form | {"next": unquote(asked)}
            entered = await client.post("/login", data=sent, headers=OWN)
            assert entered.headers["location"] == asked
        client.cookies.clear()
        asked = "/invoices/M%C3%BCller%20%26%20100%25/2026-10"
        closed = await client.get(asked, headers=BROWSER)
        told = parse_qs(urlsplit(closed.headers["location"]).query)["next"][0]
        entered = await client.post("/login", data=form | {"next": told}, headers=OWN)
        assert entered.headers["location"] == asked

    on_pages(database_dsn, test, answers=3)


def test_changes_are_read_page_by_page(database_dsn: str) -> None:
    async def test(client: httpx.AsyncClient, pool: Pool, cycle: int) -> None:
        async with pool.connection() as conn:
            for number in range(30):
                await write_entry(conn, "😀" * 50, Event("add user", f"u{number}"))
            assert len(await read_entries(conn, None, 99)) == 30
        first = (await client.get("/audit.json", headers=BEARER)).json()
        query = {"before": first["next"]}
        second = (await client.get("/audit.json", params=query, headers=BEARER)).json()
        assert (len(first["entries"]), len(second["entries"]), second["next"]) == (25, 5, None)
        page = await client.get("/audit", headers=BEARER)
        assert len(page.content) < 100_000

    on_pages(database_dsn, test, answers=3)


def test_a_proxy_that_hides_the_host_is_named(database_dsn: str) -> None:
    async def test(client: httpx.AsyncClient, pool: Pool, cycle: int) -> None:
        await enter(client, pool, "ada", "operator")
        form = {"name": "ada", "password": PASSWORD}
        site = {"origin": "https://models.example.com"}
        refused = await client.post("/login", data=form, headers=BROWSER | site)
        assert (refused.status_code, refused.headers["content-type"][:9]) == (403, "text/html")
        assert "https://models.example.com, and the request came for here:8090" in refused.text
        assert "proxy_set_header Host" in refused.text
        changed = await client.post("/releases/rollback", data={}, headers=BROWSER | site)
        assert (changed.status_code, "pass the Host header on" in changed.text) == (403, True)
        for host in ("here:443", "here"):
            headers = {"host": host, "origin": "https://here"}
            assert (await client.post("/login", data=form, headers=headers)).status_code == 303
        for origin in ("https://[::1", "null", "https://here:8443"):
            headers = {"host": "here", "origin": origin}
            assert (await client.post("/login", data=form, headers=headers)).status_code == 403

    on_pages(database_dsn, test, answers=3)


def test_a_form_that_comes_too_late_keeps_its_words(database_dsn: str) -> None:
    async def test(client: httpx.AsyncClient, pool: Pool, cycle: int) -> None:
        await enter(client, pool, "ada", "rater")
        client.cookies.clear()
        sent = {"signal": "correction", "text": "<b>long</b> words", "csrf": "x"}
        late = BROWSER | OWN | {"referer": "http://here:8090/answers/gen_1?x=y"}
        told = await client.post("/answers/gen_1", data=sent, headers=late)
        assert (told.status_code, told.headers["content-type"][:9]) == (401, "text/html")
        assert "www-authenticate" not in told.headers
        assert "signed in no more" in told.text
        assert "&lt;b&gt;long&lt;/b&gt; words</textarea>" in told.text
        assert 'name="next" value="/answers/gen_1"' in told.text
        for headers in (BROWSER | {"origin": "http://evil"}, OWN):
            other = await client.post("/answers/gen_1", data=sent, headers=headers)
            assert "long" not in other.text

    on_pages(database_dsn, test, answers=3)


def test_wrong_passwords_of_one_address_keep_nobody_else_out(database_dsn: str) -> None:
    async def test(client: httpx.AsyncClient, pool: Pool, cycle: int) -> None:
        await enter(client, pool, "ada", "operator")
        crowd = httpx.ASGITransport(app_of(client), client=("10.0.0.1", 1))
        async with httpx.AsyncClient(transport=crowd, base_url="http://here:8090") as stranger:
            wrong = {"name": "ada", "password": "wrong"}
            tries = [asyncio.create_task(stranger.post("/login", data=wrong)) for _ in range(100)]
            while not any(one.done() and one.result().status_code == 429 for one in tries):
                await asyncio.sleep(0.01)
            form = {"name": "ada", "password": PASSWORD}
            assert (await client.post("/login", data=form, headers=OWN)).status_code == 303
            for one in tries:
                one.cancel()
            await asyncio.gather(*tries, return_exceptions=True)

    on_pages(database_dsn, test, answers=3)
