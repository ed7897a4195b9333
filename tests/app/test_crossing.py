"""Models that go over to another base, as one instance sees it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest

from liveweights.app import crossing
from liveweights.app.crossing import Crossing
from liveweights.app.knowledge import Knowledge
from liveweights.app.opening import Opener
from liveweights.app.place import Place
from liveweights.app.seat import Seat
from liveweights.app.terms import Lookout, make_terms
from liveweights.config import Config
from liveweights.cycle.bases import Standing
from liveweights.serve.hosted.models import HostedModels
from liveweights.serve.models import Models
from liveweights.store.database import open_pool
from liveweights.terms.rows import read_denials
from liveweights.terms.rules import Rule
from liveweights.weights.checkpoint import Checkpoint

OLD, NEW = "old@000000000000", "new@000000000000"
RULE = Rule(name="not-here", when=("load",), then="deny", reason="so")


def test_a_base_that_may_not_be_loaded_is_told_of_in_one_row_however_often_it_is_tried(
    database_dsn: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(crossing, "RETRY", 0.0)
    config = msgspec.structs.replace(Config(), terms=(RULE,), cache=str(tmp_path))

    async def go() -> None:
        pool, place = await open_pool(database_dsn), Place(config, tmp_path, database_dsn)
        models = Models()
        knowledge = Knowledge(pool, place, Lookout(pool, make_terms(config, {})))
        opener = Opener(pool, place, models, HostedModels(), instance="here")
        seat = Seat(
            settings=config.find_model("code"),
            version=None,
            base=Checkpoint(OLD, "base", tmp_path),
        )
        crossed = Crossing(models, opener, knowledge, {"code": seat}, lambda: None)
        for _ in range(3):
            crossed.step({"code": Standing(OLD, NEW, {NEW: str(tmp_path / "new")})}, ())
            await asyncio.gather(*crossed.chores.tasks())
        assert crossed.beside == {}
        async with pool.connection() as conn:
            assert [one.rule for one in await read_denials(conn)] == ["not-here"]
        await pool.close()

    asyncio.run(go())
    assert caplog.text.count("is not loaded: so") == 3
