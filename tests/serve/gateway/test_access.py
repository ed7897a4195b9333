"""Two tenants behind one key: each sees what its own requests made, and nothing else."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest
from yarl import URL

from liveweights.serve.api.settings import ApiSettings
from liveweights.serve.gateway.app import create_gateway

from .stub import MemoryOwners, Scene, Stub, scene

KEYS = ApiSettings(keys={"key-a": "a", "key-b": "b"})


def play(act: Callable[[Scene], Awaitable[None]], stub: Stub | None = None, **how: Any) -> None:
    async def run() -> None:
        how.setdefault("settings", KEYS)
        async with scene(stub or Stub(answer=b"{}"), key="up", **how) as stage:
            async with asyncio.timeout(30):
                await act(stage)

    asyncio.run(run())


async def ask(
    stage: Scene, tenant: str, method: str, path: str, body: Any = None, **headers: str
) -> tuple[int, Any]:
    """Status and what came, as JSON."""
    sent = {"authorization": f"Bearer key-{tenant}"} | headers
    data = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
    if data is not None:
        sent.setdefault("content-type", "application/json")
    target = URL(stage.url + path, encoded=True)
    async with stage.client.request(method, target, data=data, headers=sent) as response:
        return response.status, json.loads(await response.read() or b"null")


def reached(stage: Scene) -> list[str]:
    """What the upstream was asked for since the last call."""
    asked = [f"{method} {path}" for method, path, _, _ in stage.stub.requests]
    stage.stub.requests.clear()
    return asked


def form() -> aiohttp.MultipartWriter:
    writer = aiohttp.MultipartWriter("form-data")
    writer.append(b"{}").set_content_disposition("form-data", name="file", filename="x")
    return writer


async def make_file(stage: Scene, tenant: str, id: str) -> None:
    stage.stub.answer = json.dumps({"id": id, "object": "file"}).encode()
    headers = {"authorization": f"Bearer key-{tenant}"}
    async with stage.client.post("/v1/files", data=form(), headers=headers) as response:
        assert response.status == 200
    reached(stage)


def test_a_file_is_its_makers() -> None:
    async def act(stage: Scene) -> None:
        await make_file(stage, "a", "file-1")
        for method, path in (
            ("GET", "/v1/files/file-1"),
            ("GET", "/v1/files/file-1/content"),
            ("DELETE", "/v1/files/file-1"),
            ("GET", "/v1/Files/file-1"),
            ("HEAD", "/v1/files/file-1"),
        ):
            status, _ = await ask(stage, "b", method, path)
            assert status in (403, 404)
            assert not reached(stage), (method, path)
        status, _ = await ask(stage, "a", "GET", "/v1/files/file-1/content")
        assert (status, reached(stage)) == (200, ["GET /v1/files/file-1/content"])
        status, _ = await ask(stage, "a", "DELETE", "/v1/files/file-1")
        assert (status, reached(stage)) == (200, ["DELETE /v1/files/file-1"])
        status, body = await ask(stage, "a", "GET", "/v1/files/file-1")
        assert (status, body["error"]["code"], reached(stage)) == (404, "not_found", [])

    play(act)


def test_ids_that_nobody_made_are_not_found() -> None:
    async def act(stage: Scene) -> None:
        for path in ("/v1/responses/resp_9", "/v1/batches/batch_9", "/v1/chat/completions/c9"):
            assert (await ask(stage, "a", "GET", path))[0] == 404
        assert not reached(stage)

    play(act)


def test_a_response_is_its_makers_also_as_the_one_before() -> None:
    output = [{"type": "message", "id": "msg_1", "content": [{"type": "output_text", "text": "x"}]}]
    whole = {"id": "resp_1", "model": "m", "status": "completed", "output": output}

    async def act(stage: Scene) -> None:
        asked = {"model": "big", "input": "hi"}
        assert (await ask(stage, "a", "POST", "/v1/responses", asked))[0] == 200
        reached(stage)
        for body in (
            {"previous_response_id": "resp_1"},
            {"input": [{"type": "item_reference", "id": "msg_1"}]},
        ):
            assert (await ask(stage, "b", "POST", "/v1/responses", asked | body))[0] == 404
            assert not reached(stage)
            assert (await ask(stage, "a", "POST", "/v1/responses", asked | body))[0] == 200
            assert reached(stage)
        assert (await ask(stage, "b", "GET", "/v1/responses/resp_1"))[0] == 404
        assert (await ask(stage, "b", "POST", "/v1/responses/resp_1/cancel"))[0] == 404
        assert (await ask(stage, "a", "GET", "/v1/responses/resp_1"))[0] == 200

    play(act, Stub(answer=json.dumps(whole).encode()))


@pytest.mark.parametrize("path", ["", "/compact", "/input_tokens"])
@pytest.mark.parametrize(
    "body",
    [
        {"previous_response_id": "resp_b"},
        {"input": [{"type": "image_generation_call", "id": "ig_b"}]},
        {"input": [{"content": [{"type": "input_file", "file_id": "file-b"}]}]},
    ],
)
def test_no_request_about_responses_names_what_others_made(path: str, body: Any) -> None:
    owners = MemoryOwners()
    made = (("responses", "resp_b"), ("responses/items", "ig_b"), ("files", "file-b"))
    owners.tenants.update(dict.fromkeys(made, "b"))

    async def act(stage: Scene) -> None:
        asked = {"model": "big", **body}
        assert (await ask(stage, "a", "POST", f"/v1/responses{path}", asked))[0] == 404
        assert not reached(stage)
        assert (await ask(stage, "b", "POST", f"/v1/responses{path}", asked))[0] == 200
        assert reached(stage) == [f"POST /v1/responses{path}"]
        assert set(owners.tenants) == set(made)  # an action makes nothing

    play(act, owners=owners)


def test_items_are_their_makers_also_of_an_answer_that_is_not_kept() -> None:
    output = [{"type": "web_search_call", "id": "ws_1"}]
    whole = {"id": "resp_1", "model": "m", "status": "completed", "output": output}

    async def act(stage: Scene) -> None:
        asked = {"model": "big", "input": "hi", "store": False}
        assert (await ask(stage, "a", "POST", "/v1/responses", asked))[0] == 200
        again = asked | {"input": output}
        assert (await ask(stage, "a", "POST", "/v1/responses", again))[0] == 200
        assert (await ask(stage, "b", "POST", "/v1/responses", again))[0] == 404
        assert (await ask(stage, "a", "GET", "/v1/responses/resp_1"))[0] == 404

    play(act, Stub(answer=json.dumps(whole).encode()))


@pytest.mark.parametrize("streamed", [True, False])
def test_what_was_spoken_is_its_makers(streamed: bool) -> None:
    said = {"content": None, "audio": {"id": "audio_1", "transcript": "yes"}}
    choice = {"index": 0, "finish_reason": "stop", ("delta" if streamed else "message"): said}
    body = json.dumps({"id": "c1", "model": "m", "choices": [choice]}).encode()
    stub = Stub(answer=[b"data: " + body + b"\n\n", b"data: [DONE]\n\n"] if streamed else body)

    async def act(stage: Scene) -> None:
        asked: dict[str, Any] = {"model": "big", "stream": streamed, "messages": []}
        headers = {"authorization": "Bearer key-a"}
        async with stage.client.post("/v1/chat/completions", json=asked, headers=headers) as came:
            await came.read()
        stage.stub.answer = b"{}"
        asked["messages"] = [{"role": "assistant", "audio": {"id": "audio_1"}}]
        assert (await ask(stage, "b", "POST", "/v1/chat/completions", asked))[0] == 404
        assert (await ask(stage, "a", "POST", "/v1/chat/completions", asked))[0] == 200

    play(act, stub)


def test_a_response_in_events_is_known_before_its_id_is_told() -> None:
    def event(kind: str, status: str) -> bytes:
        response = {"id": "resp_1", "model": "m", "status": status, "output": []}
        return b"data: " + json.dumps({"type": kind, "response": response}).encode() + b"\n\n"

    parts = [event("response.created", "in_progress"), event("response.completed", "completed")]
    owners = MemoryOwners()

    async def run() -> None:
        stub = Stub(answer=parts, gate=asyncio.Event())
        async with scene(stub, KEYS, "up", owners=owners) as stage, asyncio.timeout(20):
            asked = {"model": "big", "input": "hi", "stream": True}
            headers = {"authorization": "Bearer key-a"}
            async with stage.client.post("/v1/responses", json=asked, headers=headers) as came:
                await came.content.readany()
                assert owners.tenants == {("responses", "resp_1"): "a"}
                stub.gate.set()
                await came.read()

    asyncio.run(run())


@pytest.mark.parametrize(("store", "kept"), [(None, False), (False, False), (True, True)])
def test_a_chat_answer_is_remembered_where_it_is_stored(store: bool | None, kept: bool) -> None:
    choice = {"index": 0, "message": {"content": "yes"}, "finish_reason": "stop"}
    owners = MemoryOwners()

    async def act(stage: Scene) -> None:
        asked = {"model": "big", "messages": [], "store": store}
        assert (await ask(stage, "a", "POST", "/v1/chat/completions", asked))[0] == 200
        assert owners.tenants == ({("chat/completions", "c1"): "a"} if kept else {})
        status, _ = await ask(stage, "b", "GET", "/v1/chat/completions/c1")
        assert status == 404

    answer = json.dumps({"id": "c1", "model": "m", "choices": [choice]}).encode()
    play(act, Stub(answer=answer), owners=owners)


def test_a_batch_reads_only_its_makers_files_and_requests() -> None:
    async def act(stage: Scene) -> None:
        await make_file(stage, "a", "file-1")
        await make_file(stage, "b", "file-2")
        lines = [{"url": "/v1/responses", "body": {"previous_response_id": "resp_1"}}]
        content = b"\n".join(json.dumps(line).encode() for line in lines)
        stage.stub.pages["/v1/files/file-2/content"] = content
        stage.stub.answer = b'{"id": "batch_1", "output_file_id": null}'
        asked = {"input_file_id": "file-1", "endpoint": "/v1/responses"}
        assert (await ask(stage, "b", "POST", "/v1/batches", asked))[0] == 404
        asked = {"input_file_id": "file-2", "endpoint": "/v1/responses"}
        status, body = await ask(stage, "b", "POST", "/v1/batches", asked)
        assert (status, "resp_1" in body["error"]["message"]) == (404, True)
        assert reached(stage) == ["GET /v1/files/file-2/content"]
        stage.stub.pages["/v1/files/file-2/content"] = b'{"body": {"input": "hi"}}\n' * 3
        assert (await ask(stage, "b", "POST", "/v1/batches", asked))[0] == 200
        # Its results become the maker's when they are there.
        stage.stub.pages["/v1/batches/batch_1"] = b'{"id": "batch_1", "output_file_id": "file-3"}'
        assert (await ask(stage, "b", "GET", "/v1/files/file-3"))[0] == 404
        assert (await ask(stage, "a", "GET", "/v1/batches/batch_1"))[0] == 404
        assert (await ask(stage, "b", "GET", "/v1/batches/batch_1"))[0] == 200
        assert (await ask(stage, "b", "GET", "/v1/files/file-3"))[0] == 200
        assert (await ask(stage, "a", "GET", "/v1/files/file-3"))[0] == 404

    play(act)


def test_an_object_without_a_body_in_its_request() -> None:
    owners = MemoryOwners()
    owners.tenants["batches", "batch_1"] = "a"

    async def act(stage: Scene) -> None:
        assert (await ask(stage, "a", "POST", "/v1/batches/batch_1/cancel", b""))[0] == 200

    play(act, owners=owners)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/files"),
        ("GET", "/v1/responses"),
        ("GET", "/v1/chat/completions"),
        ("DELETE", "/v1/models/ft:big"),
        ("POST", "/v1/load_lora_adapter"),
        ("GET", "/v1/organization/users"),
        ("POST", "/v1/fine_tuning/jobs"),
        ("GET", "/v1/f%69les/file-1"),
        ("GET", "/v1/chat%2Fcompletions/c1"),
    ],
)
def test_what_is_not_listed_does_not_pass(method: str, path: str) -> None:
    async def act(stage: Scene) -> None:
        status, body = await ask(stage, "a", method, path)
        assert (status, body["error"]["code"]) == (403, "path_not_allowed")
        assert not reached(stage)

    play(act)


def test_paths_of_one_tenant() -> None:
    async def act(stage: Scene) -> None:
        assert (await ask(stage, "a", "GET", "/v1/files"))[0] == 200
        assert (await ask(stage, "a", "GET", "/v1/files/file-1"))[0] == 404
        assert (await ask(stage, "a", "GET", "/v1/models"))[0] == 403
        assert (await ask(stage, "b", "GET", "/v1/files"))[0] == 403
        assert (await ask(stage, "b", "GET", "/v1/models"))[0] == 200

    play(act, tenant_paths={"a": ["GET /v1/files", "/v1/files"]})


@pytest.mark.parametrize("keys", [True, False])
@pytest.mark.parametrize(
    "path", ["/v1/../admin", "/v1/%2e%2e/admin", "/v1/%252e%252e/admin", "/v1//x", "/v1/..%5cx"]
)
def test_no_path_leaves_v1(path: str, keys: bool) -> None:
    async def act(stage: Scene) -> None:
        # The client library would put the path in order: the bytes are written by hand.
        url = URL(stage.url)
        assert url.host is not None
        for method in ("GET", "POST", "DELETE"):
            reader, writer = await asyncio.open_connection(url.host, url.port)
            head = f"{method} {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer key-a\r\n"
            writer.write(f"{head}content-length: 0\r\nconnection: close\r\n\r\n".encode())
            assert (await reader.readline()).split()[1] == b"400"
            writer.close()
        assert not reached(stage)

    play(act, settings=KEYS if keys else ApiSettings())


def test_a_body_that_is_not_json_is_not_guessed_at() -> None:
    async def act(stage: Scene) -> None:
        hidden = json.dumps({"model": "m", "previous_response_id": "resp_1"}).encode("utf-16")
        for body in (hidden, b"model=m"):
            for path in ("/v1/responses", "/v1/chat/completions"):
                assert (await ask(stage, "b", "POST", path, body))[0] == 400
        assert not reached(stage)

    play(act)


def test_while_the_database_is_away_nobodys_object_is_shown() -> None:
    owners = MemoryOwners()
    owners.away = True

    async def act(stage: Scene) -> None:
        status, body = await ask(stage, "a", "GET", "/v1/files/file-1")
        assert (status, body["error"]["code"]) == (503, "database_unavailable")
        assert not reached(stage)

    play(act, owners=owners)


def test_headers_that_would_make_another_request_of_it_stay_here() -> None:
    async def act(stage: Scene) -> None:
        headers = {"x-http-method-override": "DELETE", "openai-organization": "org-2"}
        await ask(stage, "a", "GET", "/v1/models/big", **headers)
        assert not set(headers) & set(stage.stub.requests[-1][2])

    play(act)


def test_tenants_need_somebody_to_tell_them_apart() -> None:
    with pytest.raises(ValueError, match="access"):
        create_gateway(None, None, KEYS)  # type: ignore[arg-type]


@pytest.mark.parametrize("keys", [KEYS, ApiSettings()])
def test_an_answer_that_is_made_in_the_background_is_not_begun(keys: ApiSettings) -> None:
    """It would be there for any later request, unrecorded."""

    async def act(stage: Scene) -> None:
        asked = {"model": "big", "input": "hi", "background": True}
        status, body = await ask(stage, "a", "POST", "/v1/responses", asked)
        assert (status, body["error"]["param"]) == (400, "background")
        assert not reached(stage)
        status, _ = await ask(stage, "a", "POST", "/v1/responses", asked | {"background": False})
        assert status == 200

    play(act, settings=keys)
