"""What commands print of a running service's models."""

from __future__ import annotations

import json
import time
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
import typer
from tests.serve.api.doubles import BASE, make_api
from tests.serve.api.servers import serving

from liveweights.cli.model_facts import fetch_models, show_model, show_models
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


def test_a_table_and_all_of_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key = make_key(tmp_path)
    settings = ApiSettings(keys={"somebody-0123456789": "us"})
    with serving(make_api(settings=settings, service_key=key).app) as url:
        wait_until_answered(url)
        models = fetch_models(config_of(url), tmp_path)
    show_models(models, as_json=True)
    (told,) = json.loads(capsys.readouterr().out)
    assert (told["id"], told["checkpoint"], told["licence"]) == ("tiny", BASE, None)
    show_models(models, as_json=False)
    assert "tiny" in capsys.readouterr().out
    show_model(models[0], as_json=False)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "tiny"
    assert f"  answers                    {BASE}" in lines
    assert "  context                    512 tokens" in lines
    show_model(models[0], as_json=True)
    assert json.loads(capsys.readouterr().out) == told


def test_where_nobody_answers_it_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.Exit):
        fetch_models(config_of("http://127.0.0.1:1/v1"), tmp_path)
    assert "answers at http://127.0.0.1:1/v1/models" in capsys.readouterr().err
