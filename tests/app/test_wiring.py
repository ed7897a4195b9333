"""Parts put together from the settings."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import msgspec
import pytest

from liveweights.app.wiring import open_hosted, open_spill
from liveweights.config import Config
from liveweights.record.spill import Spill, SpillInUse
from liveweights.serve.hosted.model import Hosted
from liveweights.serve.hosted.settings import MissingKey
from liveweights.serve.hosted.version import checkpoint_id

TABLE = {"upstream": "http://127.0.0.1:1/v1", "key_env": "BIG_KEY", "timeout": 900}


def open_big() -> Hosted:
    config = msgspec.convert({"models": {"big": TABLE}}, Config)
    (settings,) = config.list_hosted()
    pool: Any = None  # owners are kept where tenants have keys, and here none has

    async def run() -> Hosted:
        async with AsyncExitStack() as stack:
            return await open_hosted(stack, pool, config, settings)

    return asyncio.run(run())


def test_a_hosted_model_is_opened_with_its_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BIG_KEY", "theirs")
    hosted = open_big()
    assert (hosted.alias, hosted.key) == ("big", "theirs")
    assert hosted.checkpoint == checkpoint_id("http://127.0.0.1:1", "big")
    assert hosted.upstream.address == "http://127.0.0.1:1"
    assert hosted.access is None


def test_without_its_key_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BIG_KEY", raising=False)
    with pytest.raises(MissingKey, match="the environment variable BIG_KEY is not set"):
        open_big()


def test_rows_on_disk_are_waited_for_until_a_predecessor_lets_go_of_them(tmp_path: Path) -> None:
    before = Spill(tmp_path)

    async def scenario() -> None:
        opening = asyncio.create_task(open_spill(tmp_path, 7))
        await asyncio.sleep(0)
        await asyncio.sleep(0.5)
        assert not opening.done()
        before.close()
        spill = await opening
        assert spill.limit == 7
        with pytest.raises(SpillInUse):
            await open_spill(tmp_path, 7, patience=0)
        spill.close()

    asyncio.run(scenario())
