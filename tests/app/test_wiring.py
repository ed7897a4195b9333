"""Parts put together from the settings."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import msgspec
import pytest

from liveweights.app.wiring import open_hosted
from liveweights.config import Config
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
