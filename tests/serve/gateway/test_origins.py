"""Pages of other sites, of which browsers say that they ask."""

from __future__ import annotations

import pytest
from tests.serve.gateway.stub import Scene, Stub, streamed
from tests.serve.gateway.test_proxy import play

from liveweights.serve.api.settings import ApiSettings

GOOD, EVIL = "https://app.example.com", "https://evil.example.com"
ORIGIN = "access-control-allow-origin"
OPEN = {ORIGIN: "*", "access-control-allow-headers": "content-type,authorization"}
PREFLIGHT = {
    "access-control-request-method": "POST",
    "access-control-request-headers": "content-type",
}


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/embeddings", "/v1/files"])
@pytest.mark.parametrize("origins", [[], [GOOD]])
def test_whether_a_page_may_call_is_for_the_gateway_to_say(path: str, origins: list[str]) -> None:
    stub = Stub(headers=OPEN)

    async def act(stage: Scene) -> None:
        for origin in (GOOD, EVIL):
            allowed = {ORIGIN: origin} if origin in origins else {}
            headers = {"origin": origin}
            async with stage.client.options(path, headers=headers | PREFLIGHT) as answer:
                assert answer.headers.get(ORIGIN) == allowed.get(ORIGIN)
            assert not stub.requests
            response, body = await stage.ask(path.removeprefix("/v1/"), headers=headers)
            assert body == b"".join(streamed())
            assert response.headers.get(ORIGIN) == allowed.get(ORIGIN)
            assert "access-control-allow-headers" not in response.headers
            stub.requests.clear()

    play(act, stub, settings=ApiSettings(origins=origins), key="up-0123456789-abc")


def test_options_say_what_passes() -> None:
    async def act(stage: Scene) -> None:
        async with stage.client.options("/v1/files/f") as answer:
            assert answer.status == 204
            assert answer.headers["allow"] == "GET, POST, PUT, PATCH, DELETE, HEAD, OPTIONS"
        assert not stage.stub.requests

    play(act)


@pytest.mark.parametrize("kind", ["text/plain", "Multipart/Form-Data; boundary=x", None])
def test_what_a_browser_sends_unasked_does_not_pass(kind: str | None) -> None:
    async def act(stage: Scene) -> None:
        async def send(**headers: str) -> int:
            given = headers | ({} if kind is None else {"content-type": kind})
            skip = ["content-type"] if kind is None else []
            async with stage.client.post(
                "/v1/embeddings", data=b"{}", headers=given, skip_auto_headers=skip
            ) as answer:
                return answer.status

        for origin in (EVIL, "null", "https://["):
            assert await send(origin=origin) == 403
        assert not stage.stub.requests
        assert await send() == 200
        assert await send(origin=GOOD) == 200
        assert await send(origin=stage.url) == 200
        assert await send(origin=EVIL, authorization="Bearer mine") == 200

    play(act, settings=ApiSettings(origins=[GOOD]))
