"""Episodes as lists of steps: in order, with calls, what is new in each prompt, and credit."""

from __future__ import annotations

import tracemalloc
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import httpx
from tests.record.rows import make_feedback, make_generation
from tests.release.test_aliases import A

from liveweights.record.writer import Writer
from liveweights.serve.api.identifiers import identifier
from liveweights.store.database import Pool

from .people import BEARER, enter
from .story import on_pages
from .test_pages import Outline, check_safe, link_to_more

NAME = "fix/<b>it</b>"
CALL = '<tool_call>{"name": "search", "arguments": {"q": "<script>"}}</tool_call>'


def id_of(number: int) -> str:
    at = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1) + timedelta(minutes=number)
    return identifier("gen", int(at.timestamp() * 1000), number)


async def act(pool: Pool, steps: int = 12) -> list[str]:
    """An episode of acme: the first step calls a tool, the second badly, the outcome is good; and
    one of another tenant with the same name."""
    ids = [id_of(n) for n in range(steps)]
    start = datetime.now(UTC) - timedelta(hours=1)
    async with Writer(pool, linger=0.0) as writer:
        for n, id in enumerate(ids):
            output = {0: CALL, 1: "<tool_call>{broken</tool_call>"}.get(n, f"step {n}")
            await writer.add_generation(
                make_generation(
                    id,
                    alias="m",
                    checkpoint=A,
                    tenant="acme",
                    endpoint="chat",
                    output=output,
                    prompt_ids=[1, 2] + [3] * n,
                    created_at=start + timedelta(minutes=n),
                    metadata={"episode": NAME},
                )
            )
            outcome = make_feedback(
                f"done/{id}", id, tenant="acme", signal="reward", value=0.5, episode=NAME
            )
            await writer.add_feedback(outcome)
        other = make_generation(
            id_of(50), alias="m", checkpoint=A, tenant="zeta", metadata={"episode": NAME}
        )
        await writer.add_generation(other)
    return ids


def test_an_episode_is_a_list_of_steps_with_calls_and_credit(database_dsn: str) -> None:
    async def test(client: httpx.AsyncClient, pool: Pool, cycle: int) -> None:
        ids = await act(pool)
        client.headers.update(BEARER)
        listed = (await client.get("/episodes.json")).json()["episodes"]
        assert {(one["tenant"], one["steps"], one["outcome"], one["value"]) for one in listed} == {
            ("acme", 12, "reward", 0.5),
            ("zeta", 1, None, None),
        }
        page = await client.get("/episodes")
        check_safe(page)
        place, query = "/episodes/fix/%3Cb%3Eit%3C%2Fb%3E", {"tenant": "acme"}
        first = (await client.get(f"{place}.json", params=query)).json()
        assert (first["count"], first["calls"], first["credit"]) == (12, 2, "outcome")
        assert [one["value"] for one in first["outcomes"]] == [0.5]
        more = (await client.get(f"{place}.json", params=query | {"before": first["next"]})).json()
        steps = [*first["steps"], *more["steps"]]
        assert [step["id"] for step in steps] == ids
        assert [step["number"] for step in steps] == list(range(1, 13))
        assert [[call["name"] for call in step["calls"]] for step in steps[:3]] == [
            ["search"],
            [None],
            [],
        ]
        assert {(step["credit"]["of"], step["credit"]["reward"]) for step in steps} == {
            ("episode", 0.5)
        }
        assert {step["credit"]["share"] for step in steps} == {1.0}
        # The vocabulary says what the tokens are: each prompt has one more than the last.
        assert steps[0]["asked"] == "write a "
        assert {step["asked"] for step in steps[1:]} == {"<b>poem</b>"}
        shown = await client.get(place, params=query)
        check_safe(shown)
        assert "a call that cannot be read" in shown.text
        assert "&lt;script&gt;" in shown.text
        assert (await client.get("/episodes/none")).status_code == 404
        del client.headers["authorization"]
        await enter(client, pool, "eve", "viewer", "zeta")
        own = (await client.get("/episodes.json?tenant=acme")).json()["episodes"]
        assert [one["tenant"] for one in own] == ["zeta"]
        seen = (await client.get(f"{place}.json", params=query)).json()
        assert (seen["tenant"], seen["count"]) == ("zeta", 1)

    on_pages(database_dsn, test, answers=3)


def test_an_episode_is_told_without_reading_its_tokens(database_dsn: str) -> None:
    size, steps = 100_000, 30  # as objects of Python 100 MB

    async def test(client: httpx.AsyncClient, pool: Pool, cycle: int) -> None:
        at = datetime.now(UTC) - timedelta(hours=1)
        async with Writer(pool, linger=0.0) as writer:
            for n in range(steps):
                one = make_generation(
                    id_of(n),
                    alias="m",
                    checkpoint=A,
                    prompt_ids=list(range(100_000, 100_000 + size)),
                    created_at=at + timedelta(minutes=n),
                    metadata={"episode": "long"},
                )
                await writer.add_generation(one)
        client.headers.update(BEARER)
        tracemalloc.start()
        told = (await client.get("/episodes/long.json")).json()
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert (told["count"], told["tokens"]) == (steps, 2 * steps)
        assert {step["prompt_tokens"] for step in told["steps"]} == {size}
        assert peak < 30e6

    on_pages(database_dsn, test, answers=3)


def test_episodes_are_read_page_by_page(database_dsn: str) -> None:
    async def test(client: httpx.AsyncClient, pool: Pool, cycle: int) -> None:
        now = datetime.now(UTC)
        async with Writer(pool, linger=0.0) as writer:
            for n in range(30):
                # Two end at the same moment each: the order still is one.
                at = now - timedelta(minutes=n // 2)
                await writer.add_generation(
                    make_generation(
                        f"e{n}",
                        alias="m",
                        checkpoint=A,
                        created_at=at,
                        metadata={"episode": f"task {n}"},
                    )
                )
        client.headers.update(BEARER)
        first = (await client.get("/episodes.json")).json()
        second = (await client.get("/episodes.json", params={"before": first["next"]})).json()
        names = [one["name"] for one in (*first["episodes"], *second["episodes"])]
        assert (len(names), len(set(names)), second["next"]) == (30, 30, None)
        older = link_to_more(await client.get("/episodes?tenant=default"))
        assert parse_qs(urlsplit(older).query) == {
            "model": ["m"],
            "tenant": ["default"],
            "before": [first["next"]],
        }
        rest = Outline((await client.get(older)).text)
        assert sum(link.startswith("/episodes/") for link in rest.links()) == 5


def test_an_episode_that_is_called_like_a_form_has_a_page(database_dsn: str) -> None:
    async def test(client: httpx.AsyncClient, pool: Pool, cycle: int) -> None:
        names = ("fix package", "fix package.json", "fix package.html")
        async with Writer(pool, linger=0.0) as writer:
            for n, name in enumerate(names):
                one = make_generation(f"e{n}", alias="m", checkpoint=A, metadata={"episode": name})
                await writer.add_generation(one)
        client.headers.update(BEARER)
        links = Outline((await client.get("/episodes")).text).links()
        there = [link for link in links if link.startswith("/episodes/")]
        pages = [(await client.get(link)).text for link in there]
        for name in names:
            assert any(f'<span dir="auto">{name}</span>' in page for page in pages), name
            told = await client.get(f"/episodes/{name}.json")
            assert told.json()["name"] == name

    on_pages(database_dsn, test, answers=3)
