"""What the service says of itself over HTTP."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from liveweights.app.server import status_routes
from liveweights.config import Config
from liveweights.http.errors import ApiError
from liveweights.http.routes import Route
from liveweights.serve.api.app import make_authenticator

FAR = {"upstream": "http://127.0.0.1:1"}


@pytest.mark.parametrize("models", [{"code": {}, "big": FAR}, {"big": FAR}])
def test_a_hosted_model_has_no_circle_to_tell_of(models: dict[str, Any], tmp_path: Path) -> None:
    config = msgspec.convert({"models": models}, Config)

    async def ask(query: bytes) -> None:
        # Nothing is asked of the database, so that it need not be there.
        pool: Any = None
        authenticator = make_authenticator(config.api)
        [route] = status_routes(pool, tmp_path, authenticator, now=lambda: config)
        assert isinstance(route, Route)
        scope = {"type": "http", "method": "GET", "headers": [], "query_string": query}
        await route.endpoint(scope, _nothing, _nothing)

    queries = [b"model=big"] if "code" in models else [b"model=big", b""]
    for query in queries:
        with pytest.raises(ApiError, match="A hosted model has no base here") as refused:
            asyncio.run(ask(query))
        assert refused.value.status == 404


async def _nothing(*message: Any) -> Any:
    raise AssertionError(message)
