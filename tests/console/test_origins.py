"""Exposure, adoption and bills of materials on pages: what the commands say."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from tests.record.rows import make_feedback, make_generation
from tests.record.test_window import record
from tests.release.test_aliases import A, B
from typer.testing import CliRunner

from liveweights.adoption.rows import keep_snapshots
from liveweights.adoption.snapshots import Snapshot
from liveweights.bom import document
from liveweights.bom.check import find_fault
from liveweights.cli import app
from liveweights.config import DATABASE_URL
from liveweights.store.database import Pool

from .people import BEARER, enter
from .story import on_pages
from .test_pages import check_safe

EVIL = "<img src=x>"


def test_exposure_is_the_commands(
    database_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = datetime.now(UTC)
    record(
        database_dsn,
        *(
            make_generation(f"o{n}", alias="m", checkpoint=A, created_at=now, tenant=EVIL)
            for n in range(3)
        ),
        make_generation("gone", alias=EVIL, created_at=now - timedelta(days=8)),
        make_feedback("of", "o0", tenant=EVIL, received_at=now),
    )

    async def test(client: httpx.AsyncClient, pool: Pool, cycle: int) -> None:
        client.headers.update(BEARER)
        told = (await client.get("/exposure.json")).json()
        makers = {one["value"]: one for one in told["exposure"]["shares"]["maker"]}
        assert makers["Hugging Face"]["aliases"] == ["m"]
        assert {one["name"] for one in told["points"]} == {"maker", "country", "upstream"}
        assert all(0 < one["rate"] <= 1 for one in told["points"])
        page = await client.get("/exposure")
        check_safe(page)
        assert "not legal advice" in page.text
        assert EVIL not in page.text
        without = {"without": "maker=Hugging Face"}
        asked = (await client.get("/exposure.json", params=without)).json()
        (loss,) = asked["exposure"]["losses"]
        assert (loss["alias"], asked["exposure"]["without"]) == ("m", ["maker Hugging Face"])
        assert loss["substitutes"]
        shown = await client.get("/exposure", params=without)
        check_safe(shown)
        assert loss["substitutes"][0]["name"] in shown.text
        none = await client.get("/exposure", params={"without": "country=XX"})
        assert "no model of this service is gone" in none.text
        for wrong in (
            {"without": "CN"},
            {"since": "soon"},
            {"without": "colour=red"},
            {"without": "maker=Moonshoot"},
        ):
            assert (await client.get("/exposure.json", params=wrong)).status_code == 400
        del client.headers["authorization"]
        await enter(client, pool, "eve", "viewer", "acme")
        for path in ("/exposure", "/adoption", "/bills", f"/bills/{B}", "/databases.json"):
            assert (await client.get(path)).status_code == 403

    on_pages(database_dsn, test, answers=3)
    monkeypatch.setenv(DATABASE_URL, database_dsn)
    file = tmp_path / "settings.toml"
    file.write_text('alias = "m"\n')
    words = ["exposure", "--json", "--home", str(tmp_path), "--config", str(file)]
    printed = json.loads(CliRunner().invoke(app, words).stdout)
    answers = [one for one in printed["shares"]["maker"] if one["value"] == "Hugging Face"]
    assert answers[0]["answers"] == 3 + 4  # those of the story, too


def test_adoption_by_week_and_as_published(database_dsn: str) -> None:
    async def test(client: httpx.AsyncClient, pool: Pool, cycle: int) -> None:
        client.headers.update(BEARER)
        day = datetime(2025, 8, 5, tzinfo=UTC).date()
        figures = [
            Snapshot(model=model, day=day + timedelta(days=days), downloads=count, source=EVIL)
            for model in ("openai/gpt-oss-20b", "openai/gpt-oss-120b")
            for days, count in ((6, 500), (400, 70_000))
        ]
        async with pool.connection() as conn:
            await keep_snapshots(conn, figures)
        told = (await client.get("/adoption.json")).json()
        assert sum(one["answers"] for one in told["weeks"]) == 4
        assert sum(one["rate"] for one in told["points"]) == pytest.approx(
            len({one["at"] for one in told["points"]})
        )
        assert {one["model"] for one in told["relative"]} == {one.model for one in figures}
        page = await client.get("/adoption?by=maker")
        check_safe(page)
        assert EVIL not in page.text
        assert "&lt;img src=x" in page.text
        assert (await client.get("/adoption.json?by=colour")).status_code == 400

    on_pages(database_dsn, test, answers=3)


def test_a_bill_is_the_commands_document(
    database_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("cyclonedx", reason="pip install 'liveweights[bom]'")

    async def test(client: httpx.AsyncClient, pool: Pool, cycle: int) -> None:
        client.headers.update(BEARER)
        listed = (await client.get("/bills.json")).json()
        assert [(one["name"], one["live"]) for one in listed["aliases"]] == [("m", B)]
        for id in ("service", "m", B):
            told = (await client.get(f"/bills/{id}.json")).json()
            made = [one["id"] for one in told["materials"]]
            assert set(made) == {A, B}
            assert len(told["elements"]) == 50
            file = await client.get(f"/bills/{id}.cdx")
            assert file.headers["content-type"].startswith("application/vnd.cyclonedx+json")
            assert find_fault(file.content) is None
            assert json.loads(file.content) == told["document"]
            page = await client.get(f"/bills/{id}")
            check_safe(page)
            assert len(page.content) < 100_000
        (ours,) = [one for one in told["materials"] if one["id"] == B]
        assert (ours["cycle"], ours["verdict"]) == (cycle, "PASS")
        assert "/bills" in (await client.get("/scoreboard")).text
        assert (await client.get("/bills/nobody@000000000000")).status_code == 404
        monkeypatch.setattr(document, "find_spec", lambda name: None)
        missing = await client.get("/bills")
        assert (missing.status_code, "liveweights[bom]" in missing.text) == (404, True)
        assert 'href="/bills' not in (await client.get("/scoreboard")).text

    on_pages(database_dsn, test, answers=3)
