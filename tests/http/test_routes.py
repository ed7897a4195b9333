from __future__ import annotations

from typing import Any

import pytest

from liveweights.http.errors import ApiError
from liveweights.http.routes import ANY, Mount, Route, Table


async def one(scope: Any, receive: Any, send: Any) -> None: ...


async def other(scope: Any, receive: Any, send: Any) -> None: ...


def test_mounted_routes_are_below_their_prefix() -> None:
    below = [Route("GET", "", one), Route("POST", "/go", one), Route("GET", "/{page}", other)]
    table = Table([Mount("/a", [Mount("/b", below)])])
    assert table.match("/a/b") == ("/a/b", {})
    assert table.match("/a/b/go") == ("/a/b/go", {})
    assert table.match("/a/b/c/d.md") == ("/a/b/{page}", {"page": "c/d.md"})
    assert table.match("/b") == table.match("/a/b/") == (None, {})


def test_the_longest_prefix_wins() -> None:
    table = Table([Route(ANY, "/v1/*", one), Route("GET", "/v1/models/{model}", other)])
    assert table.match("/v1/models/m") == ("/v1/models/{model}", {"model": "m"})
    assert table.match("/v1/files/f")[0] == "/v1/*"


def test_methods_of_one_path() -> None:
    table = Table([Route("GET", "/x", one), Route("POST", "/x", other), Route(ANY, "/y", one)])

    def asked(method: str, path: str) -> Any:
        return table.endpoint(path, {"method": method, "path": path})

    assert asked("GET", "/x") is asked("HEAD", "/x") is one
    assert asked("POST", "/x") is other
    assert asked("DELETE", "/y") is asked("HEAD", "/y") is one
    assert asked("OPTIONS", "/x") is not one
    assert asked("OPTIONS", "/y") is not one
    with pytest.raises(ApiError) as caught:
        asked("DELETE", "/x")
    assert (caught.value.status, caught.value.headers) == (405, ((b"allow", b"GET, POST"),))


def test_no_route_is_hidden_by_another() -> None:
    with pytest.raises(ValueError, match="two routes are GET /a/b"):
        Table([Route("GET", "/a/b", one), Mount("/a", [Route("GET", "/b", other)])])
