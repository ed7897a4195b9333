from __future__ import annotations

import asyncio
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import httpx
import msgspec
import psycopg
import pytest
from tests.release.test_aliases import A, B, C
from tests.scoreboard.examples import results as make_results
from tests.scoreboard.examples import run as make_run

from liveweights.access.users import remove_user
from liveweights.console import export
from liveweights.release import canaries, deployments
from liveweights.release.alias import name_branch
from liveweights.release.branches import create_branch
from liveweights.release.moves import promote
from liveweights.scoreboard.rows import keep_results, open_run
from liveweights.serve.api.objects import Model
from liveweights.store.database import Pool

from .people import OWN, enter, token_of
from .story import KEY, LOGIN, SUBJECT, app_of, on_pages

BROWSER = {"accept": "text/html,application/xhtml+xml"}


class Outline(HTMLParser):
    """What a page is made of."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def links(self) -> list[str]:
        return [attrs["href"] or "" for tag, attrs in self.tags if tag == "a" and "href" in attrs]


async def live(client: httpx.AsyncClient) -> str:
    return (await client.get("/releases.json", auth=LOGIN)).json()["live"]


def test_the_whole_path_is_a_click_from_page_to_page(database_dsn: str) -> None:
    async def test(client: httpx.AsyncClient, pool: Pool, cycle: int) -> None:
        client.auth = httpx.BasicAuth(*LOGIN)
        home = (await client.get("/home.json")).json()
        names = [one["name"] for one in home["path"]]
        assert names == [
            *("answer", "checkpoint", "cycle", "feedback", "verdict", "release", "rollback")
        ]
        texts = {one["name"]: one["text"] for one in home["path"]}
        assert texts["checkpoint"] == B
        assert texts["cycle"] == f"cycle {cycle}: promoted"
        assert texts["feedback"] == "3 reactions: learnt from 3 answers, judged on 0 others"
        assert texts["verdict"] == "PASS: it is <i>better</i>"
        assert texts["release"] == "promote: <b>better</b> live"
        assert texts["rollback"] == f"return to {A}"
        pages = [(await client.get(one["href"])).text for one in home["path"]]
        first = (await client.get("/")).text
        for one, page in zip(home["path"], pages, strict=True):
            assert one["href"] in Outline(first).links()
            assert 'aria-label="From an answer to what made it, and back"' in page
        assert f"<h1>{B}</h1>" in pages[1]
        assert "it is &lt;i&gt;better&lt;/i&gt;" in pages[4]
        form = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', pages[6]))
        sent = form | {"to": A, "reason": "<users> complain"}
        done = await client.post("/releases/rollback", data=sent)
        assert (done.status_code, done.headers["location"]) == (303, "/releases?model=m")
        assert await live(client) == A
        assert "&lt;users&gt; complain" in (await client.get("/releases")).text
        again = await client.post("/releases/rollback", data=sent)
        assert again.status_code == 409  # the page is older than the alias
        assert await live(client) == A

    on_pages(database_dsn, test)


def test_every_page_and_its_json_say_the_same(database_dsn: str) -> None:
    async def test(client: httpx.AsyncClient, pool: Pool, cycle: int) -> None:
        client.auth = httpx.BasicAuth(*LOGIN)
        listed = (await client.get("/answers.json")).json()
        newest, hostile = (one["id"] for one in listed["answers"][:2])
        twins = {
            "/": "/home.json",
            "/answers": "/answers.json",
            f"/answers/{newest}": f"/answers/{newest}.json",
            f"/answers/{hostile}": f"/answers/{hostile}.json",
            "/checkpoints": "/checkpoints.json",
            f"/checkpoints/{B}": f"/checkpoints/{B}.json",
            f"/checkpoints/{C}": f"/checkpoints/{C}.json",
            "/cycles": "/cycles.json",
            f"/cycles/{cycle}": f"/cycles/{cycle}.json",
            "/releases": "/releases.json",
            f"/conversations/{newest}": f"/conversations/{newest}.json",
            "/lineage": "/lineage.json",
            "/comparison": "/comparison.json",
            f"/comparison?left={A}&right={B}": f"/comparison.json?left={A}&right={B}",
            "/playground": "/playground.json",
            "/scoreboard": "/scoreboard.json",
            "/users": "/users.json",
            "/audit": "/audit.json",
            "/?model=upstream": "/home.json?model=upstream",
            "/answers?model=upstream": "/answers.json?model=upstream",
        }
        for address, twin in twins.items():
            page, data = await client.get(address), await client.get(twin)
            assert (page.status_code, data.status_code) == (200, 200), address
            assert page.headers["content-type"].startswith("text/html")
            assert data.headers["content-type"] == "application/json"
            assert len(page.content) < 100_000
            check_safe(page)
        answer = (await client.get(f"/answers/{hostile}.json")).json()
        assert answer["prompt"] == "write a <b>poem</b>"
        assert len(answer["output"]) > 30_000
        assert [one["signal"] for one in answer["feedback"]] == ["correction"]
        assert [(one["cycle"], one["use"]) for one in answer["lessons"]] == [(cycle, "train")]
        read = (await client.get(f"/cycles/{cycle}.json")).json()
        assert {one["signal"] for one in read["feedback"]} == {"correction", "rejected", "accepted"}
        assert read["report"]["learning"]["moved"][0]["wording"].startswith("<script>")
        made = (await client.get(f"/checkpoints/{B}.json")).json()
        assert made["card"]["cycle"] == cycle
        assert [one["id"] for one in made["ancestors"]] == [A]
        markdown = await client.get(f"/checkpoints/{B}.md")
        assert markdown.text.startswith(f"# {B}")
        assert (await client.get(f"/cycles/{cycle}.md")).status_code == 404
        for address in ("/", "/live"):  # a stream has no end to wait for
            assert (await client.head(address)).status_code == 200

    on_pages(database_dsn, test)


def check_safe(page: httpx.Response) -> None:
    """Nothing runs but what comes from here, with the strictest policy or without any."""
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert page.headers["cache-control"] == "no-store"
    assert page.headers["x-frame-options"] == "DENY"
    for tag, attrs in Outline(page.text).tags:
        assert tag != "style"
        assert "style" not in attrs
        assert not any(name.startswith(("on", "hx-on")) for name in attrs)
        if tag == "script":
            assert (attrs.get("src") or "").startswith("/assets/")


def link_to_more(page: httpx.Response) -> str:
    """The address of what follows in the list."""
    tags = Outline(page.text).tags
    (address,) = (attrs["href"] for _, attrs in tags if attrs.get("class") == "more")
    assert address is not None
    return address


def test_lists_are_read_page_by_page(database_dsn: str) -> None:
    async def test(client: httpx.AsyncClient, pool: Pool, cycle: int) -> None:
        client.auth = httpx.BasicAuth(*LOGIN)
        first = (await client.get("/answers.json")).json()
        assert len(first["answers"]) == 50
        second = (await client.get("/answers.json", params={"before": first["next"]})).json()
        ids = [one["id"] for one in (*first["answers"], *second["answers"])]
        assert (len(ids), len(set(ids)), second["next"]) == (61, 61, None)
        page = Outline((await client.get("/answers")).text)
        assert any(first["next"].partition("~")[0] in link for link in page.links())
        one = (await client.get("/answers.json", params={"session": "s3"})).json()
        assert {answer["session"] for answer in one["answers"]} == {"s3"}
        of_b = (await client.get("/answers.json", params={"checkpoint": B})).json()
        assert len(of_b["answers"]) == 1
        for query, number in (
            ({"signal": "correction"}, 1),
            ({"text": "ANSWER 7"}, 1),
            ({"text": "<script>"}, 1),
            ({"text": "nowhere"}, 0),
            ({"slower": "0"}, 50),
            ({"slower": "999999999"}, 0),
            ({"signal": "correction", "session": "s3"}, 0),
        ):
            met = (await client.get("/answers.json", params=query)).json()
            assert len(met["answers"]) == number, query
            shown = await client.get("/answers", params=query)
            check_safe(shown)
            assert len(shown.content) < 100_000
            assert "<script>alert" not in shown.text
        for query in ({"signal": "great"}, {"slower": "soon"}, {"slower": "-1"}):
            assert (await client.get("/answers.json", params=query)).status_code == 400

    on_pages(database_dsn, test)


def test_a_selection_is_exported_line_by_line(database_dsn: str) -> None:
    async def test(client: httpx.AsyncClient, pool: Pool, cycle: int) -> None:
        client.auth = httpx.BasicAuth(*LOGIN)
        answer = await client.get("/answers.jsonl")
        assert answer.headers["content-type"] == "application/jsonl"
        lines = [json.loads(line) for line in answer.content.split(b"\n")[:-1]]
        assert len(lines) == 61
        assert len({one["id"] for one in lines}) == 61
        hostile = lines[1]
        assert hostile["output"].startswith("<script>")
        assert len(hostile["output"]) > 30_000
        assert hostile["prompt"] == "write a <b>poem</b>"
        assert [one["signal"] for one in hostile["feedback"]] == ["correction"]
        assert hostile["feedback"][0]["text"] == hostile["output"]
        query = {"signal": "correction"}
        met = (await client.get("/answers.jsonl", params=query)).content.split(b"\n")
        assert [json.loads(line)["id"] for line in met[:-1]] == [hostile["id"]]
        assert (await client.get("/answers.jsonl", params={"text": "nowhere"})).content == b""
        assert (await client.get("/answers.jsonl", params={"slower": "x"})).status_code == 400
        head = await client.head("/answers.jsonl")
        assert (head.status_code, head.content) == (200, b"")
        page = (await client.get("/answers", params=query)).text
        assert "/answers.jsonl?model=m&amp;signal=correction" in page.replace(
            "signal=correction&amp;model=m", "model=m&amp;signal=correction"
        )

    on_pages(database_dsn, test)


def test_an_export_ends_with_where_it_would_go_on(
    database_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "MOST", 50)

    async def test(client: httpx.AsyncClient, pool: Pool, cycle: int) -> None:
        client.auth = httpx.BasicAuth(*LOGIN)
        lines = (await client.get("/answers.jsonl")).content.split(b"\n")[:-1]
        *answers, last = map(json.loads, lines)
        assert (len(answers), list(last)) == (50, ["next"])
        rest = (await client.get("/answers.jsonl", params={"before": last["next"]})).content
        others = [json.loads(line)["id"] for line in rest.split(b"\n")[:-1]]
        assert len({*others, *(one["id"] for one in answers)}) == 61

    on_pages(database_dsn, test)


def test_an_operator_begins_a_cycle_and_ends_it(database_dsn: str) -> None:
    async def test(client: httpx.AsyncClient, pool: Pool, cycle: int) -> None:
        client.headers["authorization"] = f"Bearer {KEY}"
        assert "Begin one now" in (await client.get("/cycles")).text
        assert "Begin one now" not in (await client.get("/cycles?model=upstream")).text
        begun = await client.post("/cycles", data={"do": "begin"})
        assert (begun.status_code, begun.headers["location"]) == (303, f"/cycles/{cycle + 1}")
        again = await client.post("/cycles", data={"do": "begin", "model": "m"})
        assert again.headers["location"] == f"/cycles/{cycle + 1}"  # it is open: no change
        cancel = {"do": "cancel", "reason": "<b>too</b> early"}
        assert (await client.post("/cycles", data=cancel)).status_code == 303
        last = (await client.get("/cycles.json")).json()["cycles"][0]
        assert (last["outcome"], last["reason"]) == ("cancelled", "<b>too</b> early")
        for form, status in (
            (cancel, 409),  # none is open
            ({"do": "cancel"}, 400),
            ({"do": "wait"}, 400),
            ({"do": "begin", "model": "upstream"}, 409),
            ({"do": "begin", "model": "none"}, 404),
        ):
            assert (await client.post("/cycles", data=form)).status_code == status, form
        entries = (await client.get("/audit.json")).json()["entries"]
        assert [one["action"] for one in entries] == ["cancel cycle", "begin cycle"]

    on_pages(database_dsn, test, answers=3)


def test_an_operator_pauses_learning_and_resumes_it(database_dsn: str) -> None:
    async def test(client: httpx.AsyncClient, pool: Pool, cycle: int) -> None:
        client.headers["authorization"] = f"Bearer {KEY}"
        for form, status in (
            ({"do": "resume"}, 409),
            ({"do": "pause"}, 400),
            ({"do": "pause", "reason": "x", "model": "upstream"}, 409),
            ({"do": "pause", "reason": "x" * 501}, 409),
        ):
            assert (await client.post("/cycles", data=form)).status_code == status, form
        paused = await client.post("/cycles", data={"do": "pause", "reason": "<b>a launch</b>"})
        assert (paused.status_code, paused.headers["location"]) == (303, "/cycles?model=m")
        for address in ("/", "/cycles"):
            page = (await client.get(address)).text
            assert "<b>Paused</b> since" in page
            assert "&lt;b&gt;a launch&lt;/b&gt;" in page
        assert "Begin one now" not in (await client.get("/cycles")).text
        assert (await client.post("/cycles", data={"do": "begin"})).status_code == 409
        told = (await client.get("/home.json")).json()["circle"]["paused"]
        assert (told["actor"], told["reason"]) == ("operator key", "<b>a launch</b>")
        assert (await client.post("/cycles", data={"do": "resume"})).status_code == 303
        assert "Begin one now" in (await client.get("/cycles")).text
        entries = (await client.get("/audit.json")).json()["entries"]
        assert [one["action"] for one in entries] == ["resume learning", "pause learning"]
        assert entries[1]["details"]["reason"] == "<b>a launch</b>"

    on_pages(database_dsn, test, answers=3)


def test_a_session_is_read_as_it_went_on(database_dsn: str) -> None:
    async def test(client: httpx.AsyncClient, pool: Pool, cycle: int) -> None:
        client.auth = httpx.BasicAuth(*LOGIN)
        listed = (await client.get("/answers.json", params={"session": "s2"})).json()["answers"]
        one = listed[0]
        page = (await client.get(f"/conversations/{one['id']}.json")).json()
        assert page["session"] == "s2"
        assert [turn["id"] for turn in page["turns"]] == [row["id"] for row in reversed(listed)]
        assert {turn["asked"] for turn in page["turns"][:1]} == {"write a <b>poem</b>"}
        assert any(turn["feedback"] for turn in page["turns"])
        shown = await client.get(f"/conversations/{one['id']}")
        check_safe(shown)
        assert "<script>alert" not in shown.text
        links = Outline((await client.get("/answers")).text).links()
        assert f"/conversations/{one['id']}" in links
        assert (await client.get("/conversations/gen_x")).status_code == 404

    on_pages(database_dsn, test, answers=30)


def test_two_checkpoints_are_told_apart_or_not(database_dsn: str) -> None:
    async def test(client: httpx.AsyncClient, pool: Pool, cycle: int) -> None:
        client.auth = httpx.BasicAuth(*LOGIN)
        told = (await client.get("/comparison.json", params={"left": A, "right": C})).json()
        both = told["compared"]
        assert (both["left"]["accepted"], both["left"]["rejected"]) == (1, 1)
        assert both["difference"] is None  # nobody clicked on C
        assert (both["ancestor"], both["steps"]) == (A, [0, 2])
        assert set(told["names"]) == {A, B, C}
        assert (await client.get(f"/comparison?left={A}&right=nobody")).status_code == 404
        made = (await client.get("/lineage.json")).json()["made"]
        parents = {one["checkpoint"]["id"]: one["parents"] for one in made}
        assert parents == {A: [], B: [A], C: [B]}
        page = (await client.get("/lineage")).text
        assert page.count("<circle") == 3
        assert page.count('<path class="made"') == 2

    on_pages(database_dsn, test, answers=3)


def test_who_can_be_asked_is_who_can_answer(database_dsn: str) -> None:
    async def test(client: httpx.AsyncClient, pool: Pool, cycle: int) -> None:
        client.auth = httpx.BasicAuth(*LOGIN)

        async def names() -> list[tuple[str, str]]:
            told = (await client.get("/playground.json")).json()["choices"]
            return [(one["name"], one["standing"]) for one in told]

        assert await names() == [("m", ""), (B, "live"), ("upstream", "")]
        async with pool.connection() as conn:
            await deployments.report(conn, "here", A, "ready")
            await deployments.report(conn, "here", C, "failed", error="no memory")
        assert await names() == [("m", ""), (B, "live"), (A, ""), ("upstream", "")]
        page = (await client.get("/playground")).text
        assert f"{A}, 50% of 2 taken [" in page

    on_pages(database_dsn, test, answers=3)


def test_a_tenant_with_a_branch_is_told_what_answers_it(database_dsn: str) -> None:
    async def test(client: httpx.AsyncClient, pool: Pool, cycle: int) -> None:
        async def standings(tenant: str) -> dict[str, str]:
            await enter(client, pool, f"of {tenant}", "viewer", tenant)
            told = (await client.get("/playground.json")).json()["choices"]
            return {one["name"]: one["standing"] for one in told if one["name"] != one["model"]}

        async with pool.connection() as conn:
            await create_branch(conn, "m", "acme")
            for checkpoint in (A, B, C):
                await deployments.report(conn, "here", checkpoint, "ready")
        # Nothing of its own yet.
        assert await standings("acme") == {A: "", B: "live", C: ""}
        async with pool.connection() as conn:
            owned = '{"tenant": "acme"}'
            await conn.execute("update checkpoints set card = card || %s where id = %s", (owned, C))
            await promote(conn, name_branch("m", "acme"), C, reason="better for acme")
        assert await standings("bolt") == {A: "", B: "live"}
        client.cookies.clear()
        async with pool.connection() as conn:
            await remove_user(conn, "of acme")
        assert await standings("acme") == {A: "", B: "", C: "live"}

    on_pages(database_dsn, test, answers=3)


def test_users_of_a_tenant_are_not_told_of_what_is_others(database_dsn: str) -> None:
    async def test(client: httpx.AsyncClient, pool: Pool, cycle: int) -> None:
        async with pool.connection() as conn:
            owned = '{"tenant": "bolt"}'
            await conn.execute("update checkpoints set card = card || %s where id = %s", (owned, C))
            for checkpoint in (A, C):
                await deployments.report(conn, "here", checkpoint, "ready")
        for tenant, told in (("acme", {B, A}), ("bolt", {B, A, C})):
            await enter(client, pool, tenant, "viewer", tenant)
            page = (await client.get("/playground.json")).json()
            assert {one["name"] for one in page["choices"]} - {"m"} == told
            for path in ("/playground", "/answers", "/keys", "/cycles"):
                assert "upstream" not in (await client.get(path, headers=BROWSER)).text, path

    def know(tenant: str | None) -> list[Model]:
        told = msgspec.convert(
            {
                "id": "m",
                "created": 0,
                "checkpoint": B,
                "root": A,
                "parent": None,
                "canary": None,
                "context_length": 512,
                "max_model_len": 512,
                "state": "ready",
                **dict.fromkeys(("base", "maker", "country", "licence", "pricing", "verdict")),
                **dict.fromkeys(("accept_rate", "latency")),
                **dict.fromkeys(("duties", "notices", "warnings"), ()),
                "capabilities": {},
                "data": {},
            },
            Model,
        )
        return [told, msgspec.structs.replace(told, id="upstream")] if tenant is None else [told]

    on_pages(database_dsn, test, answers=3, subject=replace(SUBJECT, known=know))


def test_an_operator_overrules_a_canary(database_dsn: str) -> None:
    async def test(client: httpx.AsyncClient, pool: Pool, cycle: int) -> None:
        client.headers["authorization"] = f"Bearer {KEY}"
        for form, status in (
            ({"do": "hold", "reason": "x"}, 409),  # there is none
            ({"do": "hold"}, 400),
            ({"do": "wait", "reason": "x"}, 400),
            ({"do": "hold", "reason": "x", "model": "upstream"}, 409),
        ):
            assert (await client.post("/releases/canary", data=form)).status_code == status, form
        async with pool.connection() as conn:
            await canaries.start_canary(conn, "m", C, 0.1, reason="the gate passed")
        page = (await client.get("/releases")).text
        assert ">Hold</button>" in page
        assert "reward, that it is not worse" in page
        told = (await client.get("/releases.json")).json()
        assert told["evidence"]["numbers"]["needed"] > 1
        assert {guard["name"] for guard in told["evidence"]["guards"]}
        hold = {"do": "hold", "reason": "<b>not</b> on a Friday"}
        assert (await client.post("/releases/canary", data=hold)).status_code == 303
        assert ">Go on</button>" in (await client.get("/releases")).text
        back = {"do": "abort", "reason": "tickets", "model": "m"}
        assert (await client.post("/releases/canary", data=back)).status_code == 303
        told = (await client.get("/releases.json")).json()
        assert (told["canary"], told["evidence"]) == (None, None)
        assert told["changes"][0]["reason"] == "by hand, on the page: tickets"
        entries = (await client.get("/audit.json")).json()["entries"]
        assert [one["action"] for one in entries] == ["abort canary", "hold canary"]

    on_pages(database_dsn, test, answers=5)


def test_scores_are_shown_with_their_ties(database_dsn: str) -> None:
    async def test(client: httpx.AsyncClient, pool: Pool, cycle: int) -> None:
        client.headers["authorization"] = f"Bearer {KEY}"
        assert "Nothing has been scored yet" in (await client.get("/scoreboard")).text
        async with pool.connection() as conn:
            for model, step in (("<b>big</b>", 1), ("m", 3), ("n", 3)):
                scores = [float(number % step == 0) for number in range(40)]
                run = make_run(model, f"{model}@1", cases=40)
                await keep_results(conn, await open_run(conn, run, "EUR"), make_results(scores))
        page = (await client.get("/scoreboard")).text
        assert "&lt;b&gt;big&lt;/b&gt;" in page
        assert "<b>big" not in page
        (table,) = (await client.get("/scoreboard.json")).json()["tables"]
        assert [row["tied"] for row in table["rows"]] == ["a", "b", "b"]
        assert "share a letter are not told apart" in " ".join(table["notes"])

    on_pages(database_dsn, test, answers=5)


def test_rates_are_of_what_was_clicked(database_dsn: str) -> None:
    async def test(client: httpx.AsyncClient, pool: Pool, cycle: int) -> None:
        rows = (await client.get("/checkpoints.json", auth=LOGIN)).json()["checkpoints"]
        told = {one["id"]: one for one in rows}
        assert (told[A]["answers"], told[A]["accepted"], told[A]["rejected"]) == (60, 1, 1)
        assert told[A]["rate"] == 0.5
        assert 0 < told[A]["low"] < 0.5 < told[A]["high"] < 1
        assert (told[B]["standing"], told[B]["cycle"]) == ("live", cycle)
        assert told[C]["rate"] is None

    on_pages(database_dsn, test)


def test_a_canary_says_what_it_waits_for(database_dsn: str) -> None:
    async def test(client: httpx.AsyncClient, pool: Pool, cycle: int) -> None:
        client.auth = httpx.BasicAuth(*LOGIN)
        async with pool.connection() as conn:
            await canaries.start_canary(conn, "m", C, 0.1, reason="the gate passed")
        told = (await client.get("/releases.json")).json()
        assert (told["canary"], told["share"]) == (C, 0.1)
        assert told["waits"].startswith("wait: ")
        page = (await client.get("/releases")).text
        assert "10% of the sessions" in page
        texts = {one["name"]: one["text"] for one in told["path"]}
        assert texts["checkpoint"] == C
        assert texts["rollback"] == f"it is the canary; {B} is live"

    on_pages(database_dsn, test, answers=5)


def test_what_was_pruned_is_not_offered(database_dsn: str) -> None:
    async def test(client: httpx.AsyncClient, pool: Pool, cycle: int) -> None:
        async with pool.connection() as conn:
            await conn.execute("update checkpoints set pruned_at = now() where id = %s", (A,))
        page = (await client.get("/releases", auth=LOGIN)).text
        assert "<button" not in page.partition('id="go-back"')[2]
        assert "Nothing that was live before" in page

    on_pages(database_dsn, test, answers=5)


def test_nobody_else_sees_or_changes_anything(database_dsn: str) -> None:
    async def test(client: httpx.AsyncClient, pool: Pool, cycle: int) -> None:
        for auth in (None, ("anyone", "wrong"), (KEY, "")):
            for path in ("/", "/home.json", "/live", "/answers", "/cycles/1", f"/checkpoints/{B}"):
                answer = await client.get(path, auth=auth)
                assert answer.status_code == 401
                assert answer.headers["www-authenticate"].startswith("Basic")
            denied = await client.post("/releases/rollback", data={"to": A}, auth=auth)
            assert denied.status_code == 401
        broken = await client.get("/releases", headers={"authorization": "Basic ???"})
        assert broken.status_code == 401
        for headers in (
            {"origin": "http://evil.example"},
            {"origin": "null"},
            {"origin": "http://here"},
            {"sec-fetch-site": "cross-site"},
            {"sec-fetch-site": "same-site"},
        ):
            # Another site's form, with the password that the browser keeps.
            forged = await client.post(
                "/releases/rollback", data={"to": A}, auth=LOGIN, headers=headers
            )
            assert (forged.status_code, forged.json()["error"]["code"]) == (403, "wrong_origin")
        plain = await client.post("/releases/rollback", content="to=x", auth=LOGIN)
        assert plain.status_code == 415
        rebound = await client.get("/releases", auth=LOGIN, headers={"host": "evil.example"})
        assert rebound.status_code == 421
        assert await live(client) == B
        own = await client.post(
            "/releases/rollback",
            headers={"origin": "http://here:8090", "authorization": f"Bearer {KEY}"},
        )
        assert own.status_code == 303
        assert await live(client) == A

    on_pages(database_dsn, test, answers=5)


def test_what_cannot_be_done_says_why_in_the_form_that_was_asked_for(database_dsn: str) -> None:
    async def test(client: httpx.AsyncClient, pool: Pool, cycle: int) -> None:
        client.headers["authorization"] = f"Bearer {KEY}"
        for form, status, words in (
            ({"to": "nothing@000000000000"}, 409, "is registered"),
            ({"version": "one"}, 400, "it is a number"),
            ({"to": A, "version": "1"}, 409, "read it again"),
            ({"model": "upstream"}, 409, "there is no alias"),
            ({"model": "nobody"}, 404, "No model is called"),
        ):
            answer = await client.post("/releases/rollback", data=form)
            assert answer.status_code == status
            assert words in answer.json()["error"]["message"]
            shown = await client.post("/releases/rollback", data=form, headers=BROWSER)
            assert shown.status_code == status
            assert words in shown.text
            check_safe(shown)
        for path in ("/answers/<b>", "/checkpoints/<b>", "/cycles/<b>", "/releases?model=upstream"):
            gone = await client.get(path, headers=BROWSER)
            assert gone.status_code == 404
            assert "That is not here" in gone.text
            assert "<b>" not in gone.text
        assert (await client.get("/answers", params={"befor": "1"})).status_code == 400
        assert (await client.put("/releases")).status_code == 405
        assert await live(client) == B

    on_pages(database_dsn, test, answers=5)


def test_pages_of_a_tenant_lead_to_pages_that_it_may_see(database_dsn: str) -> None:
    async def test(client: httpx.AsyncClient, pool: Pool, cycle: int) -> None:
        # What the cycle learnt from is a step of this tenant's.
        await enter(client, pool, "root", "admin")
        async with pool.connection() as conn:
            await conn.execute(
                "update generations set tenant = 'acme', metadata = '{\"episode\": \"task\"}'"
                " where id in (select generation from cycle_rows)"
            )
        learnt = (await client.get("/episodes/task?tenant=acme")).text
        assert f'href="/cycles/{cycle}"' in learnt
        await enter(client, pool, "eve", "viewer", "acme")
        assert f"in cycle {cycle}" in (await client.get("/episodes/task")).text
        # What the first page is to others is the answers to who is of a tenant.
        left, seen = ["/answers", "/episodes/task"], {"/", "/?model=m"}
        while left:
            place = left.pop()
            if place in seen or place.startswith(("#", "/assets/", "/models")):
                continue
            seen.add(place)
            page = await client.get(place, headers=BROWSER)
            assert page.status_code == 200, place
            if len(seen) < 60:
                left += Outline(page.text).links()

    on_pages(database_dsn, test)


def test_a_crowd_of_one_tenant_keeps_no_operator_from_the_way_back(database_dsn: str) -> None:
    async def test(client: httpx.AsyncClient, pool: Pool, cycle: int) -> None:
        await enter(client, pool, "bob", "operator")
        form = {"to": A, "reason": "worse", "csrf": token_of((await client.get("/releases")).text)}
        transport = httpx.ASGITransport(app_of(client))
        async with (
            httpx.AsyncClient(transport=transport, base_url="http://here:8090") as viewer,
            await psycopg.AsyncConnection.connect(database_dsn) as conn,
        ):
            await enter(viewer, pool, "eve", "viewer", "acme")
            await conn.execute("lock table generations in access exclusive mode")
            asked = [asyncio.create_task(viewer.get("/answers.json")) for _ in range(40)]
            await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
            back = asyncio.create_task(client.post("/releases/rollback", data=form, headers=OWN))
            while sum(one.done() for one in asked) < 7:  # the last of the crowd made room
                await asyncio.sleep(0.01)
            await conn.rollback()
            assert (await back).status_code == 303
            statuses = [one.status_code for one in await asyncio.gather(*asked)]
            assert (statuses.count(200), statuses.count(429)) == (33, 7)

    on_pages(database_dsn, test, answers=3)
