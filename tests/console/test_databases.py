"""Databases for agents on the page, on a real server of theirs."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import httpx
from tests.agentdb.conftest import SETTINGS, server_folder

from liveweights.agentdb.service import Databases
from liveweights.record.writer import Writer
from liveweights.store.database import open_pool

from . import story
from .people import BEARER, enter, token_of
from .test_pages import check_safe


def test_databases_are_seen_paused_and_deleted(database_dsn: str) -> None:
    async def go(folder: Path) -> None:
        pool = await open_pool(database_dsn)
        await story.tell(pool, datetime.now(UTC), answers=3)
        async with Writer(pool, linger=0.0) as writer:
            subject = replace(story.SUBJECT, databases=folder)
            _, app = story.make_console(pool, writer, subject=subject)
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://here:8090") as asks:
                await look(asks, folder)
                await enter(asks, pool, "bob", "operator")
                await change(asks)
        await pool.close()

    async def look(client: httpx.AsyncClient, folder: Path) -> None:
        none = (await client.get("/databases.json", headers=BEARER)).json()
        assert (none["running"], none["databases"]) == (False, [])
        async with Databases(folder, SETTINGS, owner="agent") as databases:
            await databases.create("shop", script="create table t (secret text)")
            await databases.fork("shop", "copy")
        told = (await client.get("/databases.json", headers=BEARER)).json()
        assert (told["running"], told["count"]) == (True, 2)
        assert [(one["database"]["name"], one["source"]) for one in told["databases"]] == [
            ("shop", None),
            ("copy", "shop"),
        ]
        page = await client.get("/databases", headers=BEARER)
        check_safe(page)
        assert "secret" not in page.text

    async def change(client: httpx.AsyncClient) -> None:
        form = {"csrf": token_of((await client.get("/databases")).text), "owner": "agent"}
        pause = form | {"do": "pause", "name": "shop"}
        assert (await client.post("/databases", data=pause)).status_code == 303
        told = (await client.get("/databases.json")).json()["databases"]
        assert told[0]["database"]["state"] == "paused"
        for wrong, status in (
            ({"do": "drop"}, 400),
            ({"name": "none"}, 404),
            ({"owner": "else"}, 404),
            ({"owner": "E\n"}, 409),
            ({"csrf": "x"}, 403),
        ):
            assert (await client.post("/databases", data=pause | wrong)).status_code == status
        delete = form | {"do": "delete", "name": "copy"}
        assert (await client.post("/databases", data=delete)).status_code == 303
        assert (await client.post("/databases", data=delete)).status_code == 404
        left = (await client.get("/databases.json")).json()["databases"]
        assert [one["database"]["name"] for one in left] == ["shop"]
        entries = (await client.get("/audit.json", headers=BEARER)).json()["entries"]
        told = [(one["action"], one["target"]) for one in entries if "database" in one["action"]]
        assert told == [("delete database", "copy"), ("pause database", "shop")]

    with server_folder() as folder:
        asyncio.run(go(folder))
