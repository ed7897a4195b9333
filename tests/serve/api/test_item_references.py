"""Items that a request names in place of sending them."""

from __future__ import annotations

from typing import Any

import pytest

from liveweights.serve.api.identifiers import item_of, response_of_item
from liveweights.serve.api.responses import references
from liveweights.serve.api.settings import ApiSettings

from .doubles import make_api
from .test_responses import CALL, WEATHER, prompt_of, respond

ASKED: Any = {"role": "user", "content": "Rome?"}


def named(item: dict[str, Any], *, typed: bool = True) -> dict[str, Any]:
    return {"id": item["id"]} | ({"type": "item_reference"} if typed else {})


@pytest.mark.parametrize("typed", [True, False])
def test_what_is_named_is_read_as_if_it_was_sent(typed: bool) -> None:
    api = make_api(f"Wait.\n{CALL}", context_length=4096)
    output = respond(api, [ASKED], tools=[WEATHER]).json()["output"]
    assert len({item["id"] for item in output}) == 2
    result = {"type": "function_call_output", "call_id": output[1]["call_id"], "output": "sunny"}
    prompts: list[str] = []
    for said in (output, [named(item, typed=typed) for item in output]):
        answer = respond(api, [ASKED, *said, result], tools=[WEATHER])
        assert answer.status == 200
        assert "x-ignored-parameters" not in answer.headers
        prompts.append(prompt_of(api))
    assert prompts[0] == prompts[1]
    # What goes on from there does not need what was named any more.
    api.responses.rows = {
        k: v for k, v in api.responses.rows.items() if k[1] == answer.json()["id"]
    }
    respond(api, "Sure?", tools=[WEATHER], previous_response_id=answer.json()["id"])
    assert prompt_of(api).startswith(prompts[1])


def test_what_is_named_in_a_conversation_is_added_to_it() -> None:
    api = make_api(context_length=4096)
    (said,) = respond(api, [ASKED]).json()["output"]
    id = api.call("POST", "/v1/conversations", {}).json()["id"]
    assert respond(api, [ASKED, named(said), ASKED], conversation=id).status == 200
    (part,) = api.conversations.said[id][said["id"]]["content"]
    assert part["text"] == said["content"][0]["text"]


@pytest.mark.parametrize("store", [True, False])
def test_what_is_not_stored_is_refused_by_name(store: bool) -> None:
    settings = ApiSettings(keys={"key-of-tenant-a-0": "a", "key-of-tenant-b-0": "b"})
    api = make_api(settings=settings)
    body = {"model": "tiny", "input": [ASKED], "store": store}
    whose = {"authorization": "Bearer key-of-tenant-a-0"}
    (said,) = api.call("POST", "/v1/responses", body, **whose).json()["output"]
    if store:
        whose = {"authorization": "Bearer key-of-tenant-b-0"}
    for id in (said["id"], "msg_1", ""):
        body = {"model": "tiny", "input": [ASKED, {"type": "item_reference", "id": id}]}
        answer = api.call("POST", "/v1/responses", body, **whose)
        assert (answer.status, answer.error()["code"]) == (404, "item_not_found")
        assert answer.error()["param"] == "input[1].id"
    nothing = {"model": "tiny", "input": [{"type": "item_reference"}]}
    assert api.call("POST", "/v1/responses", nothing, **whose).error()["param"] == "input[0].id"
    assert len(api.engine.calls) == 1


def test_what_is_named_again_and_again_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    api = make_api()
    (said,) = respond(api, [ASKED]).json()["output"]
    monkeypatch.setattr(references, "LARGEST", 1000)
    answer = respond(api, [named(said)] * 20)
    assert answer.status == 400
    assert "1000 bytes" in answer.error()["message"]


def test_an_item_names_its_response() -> None:
    response = f"resp_{'0a' * 16}"
    assert response_of_item(item_of(response, "msg", 70_000)) == response
    assert response_of_item(f"msg_{'0a' * 16}") is None
