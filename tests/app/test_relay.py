"""A secret of the operator's and callers without a key do not go together unnoticed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner

from liveweights.app.relay import check_relay
from liveweights.cli import app
from liveweights.config import Config
from liveweights.model_table import ConfigError
from liveweights.serve.gateway.settings import UPSTREAM_KEY


def make(**settings: Any) -> Config:
    return msgspec.convert(settings, Config)


GATEWAY = {"upstream": "https://api.example.com/v1"}
FAR = {"upstream": "https://api.example.com/v1"}
KEYED = {"key_env": "BIG_KEY"}
TOOLS = {"url": "https://tools.example.com/mcp", "key_env": "TICKETS_KEY"}
OPENAI = {"engine": {"kind": "openai"}}
SECRET = GATEWAY | {"key": "sk-secret"}


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"gateway": GATEWAY},
        {"gateway": {"key": "unused"}},
        {"gateway": SECRET, "api": {"keys": {"a-key-of-a-caller": "t"}}},
        {"gateway": SECRET, "api": {"open": True}},
        {"gateway": SECRET, "api": {"open": True, "host": "::1"}},
        {"engine": {"kind": "openai"}},
        {"openai": {"key": "sk-secret"}},
        {"api": {"host": "0.0.0.0", "keys": {"a-key-of-a-caller": "t"}}},
        {"api": {"host": "0.0.0.0", "open": True}},
        {"models": {"big": FAR}},
        {"models": {"big": FAR | KEYED}, "api": {"require_keys": True}},
        {"models": {"big": FAR | KEYED}, "api": {"open": True}},
        {"models": {"own": {"openai": {"key": "sk-secret"}}}},
        {"agent": {"servers": {"tickets": TOOLS | {"tenants": ["acme"]}}}},
    ],
)
def test_what_is_no_relay_starts(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(UPSTREAM_KEY, raising=False)
    check_relay(make(**settings))


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"gateway": SECRET}, "gateway.key"),
        ({"gateway": SECRET, "api": {"open": True, "host": "0.0.0.0"}}, "'0.0.0.0' is none"),
        ({"gateway": SECRET, "api": {"open": True, "host": "gpu-box"}}, "'gpu-box' is none"),
        ({"engine": {"kind": "openai"}, "openai": {"key": "sk-secret"}}, "openai.key"),
        ({"engine": {"kind": "vllm"}, "vllm": {"key": "sk-secret"}}, "vllm.key"),
        ({"models": {"far": FAR, "big": FAR | KEYED, "code": {}}}, "models.big.key_env"),
        (
            {"models": {"big": FAR | KEYED}, "api": {"open": True, "host": "0.0.0.0"}},
            "'0.0.0.0' is none",
        ),
        ({"models": {"own": OPENAI | {"openai": {"key": "sk-secret"}}}}, "models.own.openai.key"),
        ({"models": {"own": OPENAI}, "openai": {"key": "sk-secret"}}, "openai.key is set"),
        (
            {"models": {"own": {"engine": {"kind": "vllm"}, "vllm": {"key": "sk-secret"}}}},
            "models.own.vllm.key",
        ),
        ({"agent": {"servers": {"tickets": TOOLS}}}, "agent.servers.tickets.key_env"),
    ],
)
def test_an_open_relay_does_not(settings: Any, named: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(UPSTREAM_KEY, raising=False)
    with pytest.raises(ConfigError) as refused:
        check_relay(make(**settings))
    message = str(refused.value)
    assert named in message
    assert "[api] keys" in message
    assert "sk-secret" not in message


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "gpu-box"])
@pytest.mark.parametrize("more", [{}, {"gateway": GATEWAY}])
def test_other_machines_are_not_served_unnoticed(host: str, more: Any) -> None:
    with pytest.raises(ConfigError, match=r"api.keys is not set.*`\[api\] open = true`"):
        check_relay(make(api={"host": host}, **more))


def test_the_command_says_so_before_it_starts_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(UPSTREAM_KEY, "sk-secret")
    home = tmp_path / "home"
    arguments = ["up", "--upstream", GATEWAY["upstream"], "--home", str(home)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert f"${UPSTREAM_KEY} is set and api.keys is not" in result.output
    assert "[api] open = true" in result.output
    assert not home.exists()
