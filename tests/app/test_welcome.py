from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import msgspec

from liveweights.app.welcome import welcome
from liveweights.config import Config
from liveweights.model_table import ModelTable
from liveweights.serve.api.settings import ApiSettings
from liveweights.serve.gateway.settings import GatewaySettings

URL = "http://127.0.0.1:8090"


def commands(text: str) -> list[list[str]]:
    """Words of the commands that are shown."""
    joined = text.replace("\\\n", " ")
    return [shlex.split(line) for line in joined.splitlines() if line.startswith("  curl ")]


def test_the_first_request_can_be_copied() -> None:
    text = welcome(Config(alias="mine"), Path("/srv/our home"), URL, ("api", "worker"))
    assert text.startswith(f"answering at {URL}/v1 as mine\n")
    first, second = commands(text)
    assert first[1] == f"{URL}/v1/completions"
    body = json.loads(first[first.index("-d") + 1])
    assert body["model"] == "mine"
    assert second[1] == f"{URL}/v1/feedback"
    assert "liveweights status --home '/srv/our home'" in text
    assert all(len(line) <= 120 for line in text.splitlines())


def test_the_console_is_named_where_it_is() -> None:
    secret = "operator-0123456"
    text = welcome(Config(api=ApiSettings(operator_key=secret)), Path("/h"), URL, ("api",))
    assert text.splitlines()[-1].startswith(f"in a browser: {URL}/ ")
    assert secret not in text
    told = welcome(Config(), Path("/h"), URL, ("api",), invitation="t-0")
    assert f"in a browser: {URL}/ (who is on this machine may look)" in told
    assert told.endswith(f" {URL}/invite?token=t-0")
    keyed = Config(api=ApiSettings(require_keys=True))
    assert "may look" not in welcome(keyed, Path("/h"), URL, ("api",), invitation="t-0")
    users = welcome(Config(), Path("/h"), URL, ("api",))
    assert "`liveweights users`" in users.splitlines()[-1]
    assert "/invite" not in users


def test_keys_gateways_and_services_that_do_not_learn() -> None:
    keyed = Config(api=ApiSettings(keys={"a-key-of-24-characters-x": "team"}))
    text = welcome(keyed, Path("runs/home").resolve(), URL, ("api",))
    assert "a-key-of-24" not in text
    assert all("authorization: Bearer $KEY" in command for command in commands(text))
    tenants = Config(api=ApiSettings(require_keys=True))  # whose keys are in the database
    text = welcome(tenants, Path("runs/home").resolve(), URL, ("api",))
    assert all("authorization: Bearer $KEY" in command for command in commands(text))
    assert "`liveweights up` learns as well" in text
    assert "--home" not in welcome(Config(), Path("runs/home").resolve(), URL, ("api", "worker"))
    gateway = Config(gateway=GatewaySettings(upstream="http://up:1"))
    text = welcome(gateway, Path("/h"), URL, ("gateway",))
    assert "for http://up:1" in text
    assert commands(text)[0][2] == f"{URL}/v1/chat/completions"


def test_every_model_is_named() -> None:
    table = ModelTable(upstream="http://up:1")
    config = msgspec.structs.replace(Config(), models={"one": ModelTable(), "far": table})
    assert re.match(rf"answering at {URL}/v1 as one, far\n", welcome(config, Path("/h"), URL, ()))
