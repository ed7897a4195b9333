"""The gateway's own description: it is of what it serves, and what it serves keeps to it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from tests.serve.api.servers import serving_opened
from tests.serve.api.test_openapi import CHECKS

from liveweights.app.place import Place
from liveweights.app.server import open_gateway
from liveweights.config import Config
from liveweights.serve.api.settings import ApiSettings
from liveweights.serve.gateway.counts import count_bytes
from liveweights.serve.gateway.openapi import list_passed
from liveweights.serve.gateway.settings import PATHS, GatewaySettings

from .stub import USAGE, Stub, serve_stub

KEY, OPERATOR = "mine-0123456789-a", "operator-0123456789"
CHOICE = {"index": 0, "message": {"content": "Paris"}, "finish_reason": "stop"}
ANSWER = json.dumps({"id": "one", "model": "big-1", "choices": [CHOICE], "usage": USAGE}).encode()
OPEN = ApiSettings()
CLOSED = ApiSettings(keys={KEY: "us"}, operator_key=OPERATOR)


@contextmanager
def gateway(dsn: str, home: Path, api: ApiSettings, **said: Any) -> Iterator[tuple[str, Stub]]:
    """As the process puts it together; its URL, and what is behind it."""
    stub = Stub(answer=ANSWER)

    async def open(stack: AsyncExitStack) -> Any:
        url = await stack.enter_async_context(serve_stub(stub))
        config = Config(api=api, gateway=GatewaySettings(upstream=url, **said))
        return await open_gateway(stack, Place(config, home, dsn), count_bytes)

    with serving_opened(open) as url:
        yield url.removesuffix("/v1"), stub


def bearer(path: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {OPERATOR if path.startswith('/admin') else KEY}"}


@pytest.mark.parametrize("api", [OPEN, CLOSED])
def test_a_gateway_keeps_to_its_description(
    database_dsn: str, tmp_path: Path, api: ApiSettings
) -> None:
    with gateway(database_dsn, tmp_path, api) as (root, _):
        document = httpx.get(f"{root}/openapi.json").json()
        described = schemathesis.openapi.from_dict(document)
        asked = 0
        for result in described.get_all_operations():
            operation = result.ok()

            @given(operation.as_strategy())
            @settings(
                max_examples=5,
                deadline=None,
                derandomize=True,
                suppress_health_check=list(HealthCheck),
            )
            def keeps(case: schemathesis.Case) -> None:
                headers = bearer(case.path)
                case.call_and_validate(base_url=root, headers=headers, checks=list(CHECKS))

            keeps()
            asked += 1
        assert asked == sum(len(methods) for methods in document["paths"].values())


def test_what_is_described_is_there_and_nothing_else_passes(
    database_dsn: str, tmp_path: Path
) -> None:
    more = {"us": [*PATHS, "GET /v1/files", "/v1/extra"]}
    with gateway(database_dsn, tmp_path, CLOSED, tenant_paths=more) as (root, stub):
        paths = httpx.get(f"{root}/openapi.json").json()["paths"]
        assert {"/v1/key", "/v1/usage", "/v1/costs", "/v1/feedback", "/healthz"} <= paths.keys()
        assert "/admin/keys/{key}/revoke" in paths
        assert list(paths["/v1/files"]) == ["post", "get"]
        for path, methods in paths.items():
            for method in methods:
                if "default" not in methods[method]["responses"] or "{" in path:
                    continue
                seen = len(stub.requests)
                body = None if method == "get" else {"model": "big"}
                answer = httpx.request(method, root + path, json=body, headers=bearer(path))
                assert (answer.status_code, len(stub.requests)) == (200, seen + 1), path
        refused = httpx.post(f"{root}/v1/other", json={}, headers=bearer("/v1/other"))
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "path_not_allowed")
        unknown = httpx.get(f"{root}/v1/files/file-1", headers=bearer("/v1/files"))
        assert unknown.status_code == 404


def test_what_is_not_there_is_not_described(database_dsn: str, tmp_path: Path) -> None:
    with gateway(database_dsn, tmp_path, OPEN) as (root, stub):
        document = httpx.get(f"{root}/openapi.json").json()
        assert not any(path.startswith("/admin") for path in document["paths"])
        assert "/infill" not in document["paths"]
        assert "Everything else below /v1/" in document["info"]["description"]
        assert httpx.post(f"{root}/v1/other", json={}).status_code == 200
        assert stub.requests[-1][1] == "/v1/other"


def test_objects_are_described_below_their_collections() -> None:
    found = [
        (one.method, one.path) for one in list_passed(["/v1/files", "GET /v1/models", "/v1/x"])
    ]
    assert found == [
        ("post", "/v1/files"),
        *((method, "/v1/files/{id}") for method in ("get", "post", "delete")),
        ("get", "/v1/models"),
        ("post", "/v1/x"),
    ]
