"""What commands print of a running service's models."""

from __future__ import annotations

import time
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from tests.serve.api.doubles import BASE, make_api
from tests.serve.api.servers import serving

from liveweights.cli.model_facts import NoService, fetch_models, show_facts
from liveweights.config import Config
from liveweights.serve.api.settings import ApiSettings
from liveweights.service_key import make_key


def config_of(url: str) -> Config:
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    return Config(api=ApiSettings(host=parts.hostname, port=parts.port))


def wait_until_answered(url: str) -> None:
    """The server begins to listen in a thread of its own."""
    for _ in range(500):
        try:
            httpx.get(f"{url.removesuffix('/v1')}/healthz", trust_env=False)
        except httpx.ConnectError:
            time.sleep(0.02)
        else:
            return
    raise AssertionError(url)


def test_all_is_told_of_each(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key = make_key(tmp_path)
    settings = ApiSettings(keys={"somebody-0123456789": "us"})
    with serving(make_api(settings=settings, service_key=key).app) as url:
        wait_until_answered(url)
        models = fetch_models(config_of(url), tmp_path)
    assert [*models] == ["tiny"]
    assert (models["tiny"].checkpoint, models["tiny"].licence) == (BASE, None)
    show_facts(models["tiny"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "tiny"
    assert f"  answers                    {BASE}" in lines
    assert "  context                    512 tokens" in lines


def test_where_nobody_answers_it_is_said(tmp_path: Path) -> None:
    with pytest.raises(NoService, match=r"answers at http://127\.0\.0\.1:1/v1/models"):
        fetch_models(config_of("http://127.0.0.1:1/v1"), tmp_path)
