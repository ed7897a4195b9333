"""What a tenant has of its own of a model, as the tenant, the others and the operator see it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from liveweights.serve.api.settings import ApiSettings
from liveweights.serve.router import Route
from liveweights.service_key import PREFIX
from liveweights.weights.checkpoint import Checkpoint

from .doubles import BASE, Api, make_api

OPERATOR = f"{PREFIX}of-this-start"
KEYS = {"first-0123456789": "acme", "second-0123456789": "bolt"}
ACME, BOLT = KEYS
OWN = "tiny@00000000acee"


@pytest.fixture
def api() -> Api:
    made = make_api(settings=ApiSettings(keys=KEYS), service_key=OPERATOR)
    route = Route("tiny:acme", OWN, None, 0.0, 7, model="tiny", tenant="acme")
    own = Checkpoint(OWN, "adapter", Path("/"), BASE, BASE)
    made.router.introduce(own, tenant="acme")
    made.router.set_branches([route])
    asyncio.run(made.engine.load(own))
    made.router.resident([BASE, OWN])
    return made


def call(api: Api, key: str, method: str, path: str, body: Any = None) -> Any:
    return api.call(method, path, body, authorization=f"Bearer {key}")


def test_each_is_answered_and_recorded_by_whose_checkpoint_it_is(api: Api) -> None:
    for key in (ACME, BOLT, OPERATOR):
        answer = call(api, key, "POST", "/v1/completions", {"model": "tiny", "prompt": "p"})
        assert (answer.status, answer.json()["model"]) == (200, "tiny")
    assert [checkpoint for checkpoint, *_ in api.engine.calls] == [OWN, BASE, BASE]
    recorded = {(g.tenant, g.alias, g.checkpoint) for g in api.recorder.generations.values()}
    assert recorded == {("acme", "tiny", OWN), ("bolt", "tiny", BASE)}


def test_nobody_else_is_answered_by_it_or_told_of_it(api: Api) -> None:
    for name in (OWN, "tiny:acme"):
        answer = call(api, BOLT, "POST", "/v1/completions", {"model": name, "prompt": "p"})
        assert (answer.status, answer.error()["code"]) == (404, "model_not_found")
        assert call(api, BOLT, "GET", f"/v1/models/{name}").status == 404
    assert OWN.encode() not in call(api, BOLT, "GET", "/v1/models").body
    body = {"model": OWN, "prompt": "p"}
    assert [call(api, key, "POST", "/v1/completions", body).status for key in (ACME, OPERATOR)] == [
        200,
        200,
    ]


def test_models_name_it(api: Api) -> None:
    (told,) = call(api, ACME, "GET", "/v1/models").json()["data"]
    assert (told["id"], told["checkpoint"], told["root"]) == ("tiny", OWN, BASE)
    assert (told["tenant"], told["state"]) == ("acme", "ready")
    assert "tenants" not in told
    (told,) = call(api, BOLT, "GET", "/v1/models").json()["data"]
    assert told["checkpoint"] == BASE
    assert not {"tenant", "tenants"} & told.keys()
    told = call(api, OPERATOR, "GET", "/v1/models/tiny").json()
    one = {"tenant": "acme", "checkpoint": OWN, "canary": None, "loaded": True}
    assert (told["checkpoint"], told["tenants"]) == (BASE, [one])
    api.router.resident([BASE])
    (told,) = call(api, ACME, "GET", "/v1/models").json()["data"]
    assert (told["checkpoint"], told["state"]) == (OWN, "cold")
