from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest

from liveweights.record.backlog import Backlog
from liveweights.serve.api.settings import ApiSettings
from liveweights.weights.checkpoint import Checkpoint

from .doubles import BASE, NEXT, make_api


def test_unknown_paths_are_404() -> None:
    for path in ("/", "/v1", "/v1/models/", "/v1/images", "/v1/completions/"):
        answer = make_api().call("GET", path)
        assert answer.status == 404
        assert path in answer.error()["message"]


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/v1/completions", "POST"),
        ("PUT", "/v1/chat/completions", "POST"),
        ("DELETE", "/v1/models/tiny", "GET"),
        ("POST", "/healthz", "GET"),
    ],
)
def test_wrong_methods_are_405(method: str, path: str, allowed: str) -> None:
    answer = make_api().call(method, path, {})
    assert answer.status == 405
    assert answer.headers["allow"] == allowed
    assert answer.error()["code"] == "method_not_allowed"


def test_large_bodies_are_413() -> None:
    api = make_api(settings=ApiSettings(max_body_bytes=2000))
    answer = api.complete("x" * 3000)
    assert answer.status == 413
    assert "2000" in answer.error()["message"]


def test_lists_models() -> None:
    api = make_api()
    api.router.set("tiny", BASE, NEXT, 0.25)
    listed = api.call("GET", "/v1/models").json()
    assert listed["object"] == "list"
    (model,) = listed["data"]
    assert model["id"] == "tiny"
    assert model["object"] == "model"
    assert isinstance(model["created"], int)
    assert model["owned_by"] == "liveweights"
    assert model["root"] == model["checkpoint"] == BASE
    assert model["canary"] == {"checkpoint": NEXT, "share": 0.25}
    assert model["state"] == "ready"
    assert model["capabilities"] == {
        **dict.fromkeys(("chat", "completion", "tools", "json"), True),
        **dict.fromkeys(("infill", "reasoning", "vision"), False),
    }
    unknown = ("base", "maker", "country", "licence", "pricing", "verdict", "accept_rate")
    assert {name: model[name] for name in unknown} == dict.fromkeys(unknown)
    assert model["data"] == {"recorded": True, "teaches": [], "sent_to": None}
    assert api.call("GET", "/v1/models/tiny").json() == model


def test_shows_resident_checkpoints_and_names_with_slashes() -> None:
    api = make_api()
    api.router.set("org/model", BASE)
    assert api.call("GET", "/v1/models/org/model").json()["checkpoint"] == BASE
    assert api.call("GET", f"/v1/models/{BASE}").json()["root"] == BASE
    answer = api.call("GET", "/v1/models/none")
    assert answer.status == 404
    assert answer.error()["code"] == "model_not_found"


def test_a_learnt_checkpoint_names_its_root_and_its_parent() -> None:
    api = make_api()
    api.router.introduce(Checkpoint(BASE, "adapter", Path("."), base=NEXT, parent="earlier@1"))
    model = api.call("GET", "/v1/models/tiny").json()
    assert (model["root"], model["parent"], model["checkpoint"]) == (NEXT, "earlier@1", BASE)


def test_embeddings_are_refused_clearly() -> None:
    answer = make_api().call("POST", "/v1/embeddings", {"model": "tiny", "input": "a"})
    assert answer.status == 400
    assert answer.error()["code"] == "unsupported_endpoint"
    assert "/v1/chat/completions" in answer.error()["message"]


def test_a_checkpoint_can_be_asked_by_its_id() -> None:
    api = make_api()
    body = api.complete(model=BASE).json()
    assert (body["model"], body["checkpoint"]) == (BASE, BASE)
    assert api.recorder.only().alias == BASE


def test_health_says_what_is_wrong() -> None:
    api = make_api()
    assert api.call("GET", "/healthz").status == 200
    assert api.call("GET", "/healthz").json()["models"]["tiny"]["ready"] is True
    api.router.set("tiny", NEXT)
    answer = api.call("GET", "/healthz")
    assert answer.status == 503
    assert "none that a model points at" in answer.json()["why"]
    asyncio.run(api.engine.close())
    assert "holds no checkpoint" in api.call("GET", "/healthz").json()["why"]
    api.router.remove("tiny")
    assert "no model" in api.call("GET", "/healthz").json()["why"]


def test_a_record_that_is_late_is_unhealthy_and_its_backlog_is_measured() -> None:
    api = make_api()
    api.recorder.backlog = Backlog(rows=7, bytes=900, age=61.5, late=True, quarantined=2)
    answer = api.call("GET", "/healthz")
    assert answer.status == 503
    assert answer.json()["why"] == "the record is 62 s behind: 7 rows wait for the database"
    assert api.complete().status == 200  # answers are given all the same
    text = api.call("GET", "/metrics").body.decode()
    for line in (
        "liveweights_record_backlog_rows 7.0",
        "liveweights_record_backlog_bytes 900.0",
        "liveweights_record_backlog_seconds 61.5",
        "liveweights_record_quarantined_rows 2.0",
    ):
        assert line in text
    api.recorder.backlog = Backlog(rows=7, bytes=900, age=59.0)
    assert api.call("GET", "/healthz").status == 200


def test_no_engine_is_503() -> None:
    api = make_api()
    asyncio.run(api.engine.close())
    assert api.complete().status == 503  # the router has not heard of it yet
    api.router.resident(())
    answer = api.complete()
    assert answer.status == 503
    assert answer.error()["code"] == "engine_unavailable"
    assert BASE in answer.error()["message"]


def metric(text: str, name: str, **labels: str) -> float:
    for line in text.splitlines():
        match = re.fullmatch(r"(\w+)(?:\{(.*)\})? (\S+)", line)
        if match and match[1] == name:
            found = dict(re.findall(r'(\w+)="([^"]*)"', match[2] or ""))
            if labels.items() <= found.items():
                return float(match[3])
    raise AssertionError(f"no {name} {labels} in\n{text}")


def test_metrics_count() -> None:
    api = make_api("hello")
    api.router.set("tiny", BASE, NEXT, 0.0)
    generation = api.complete("say:").json()["id"]
    api.complete("say:", stream=True).events()
    api.complete(model="other")
    api.call("GET", "/nowhere")
    feedback: dict[str, Any] = {"generation": generation, "signal": "accepted", "id": "f"}
    for _ in range(2):
        api.call("POST", "/v1/feedback", feedback)
    answer = api.call("GET", "/metrics")
    text = answer.body.decode()
    completions = "/v1/completions"
    assert answer.headers["content-type"].startswith("text/plain")
    assert metric(text, "liveweights_requests_total", route=completions, status="200") == 2
    assert metric(text, "liveweights_requests_total", route=completions, status="404") == 1
    assert metric(text, "liveweights_requests_total", route="other", status="404") == 1
    assert metric(text, "liveweights_requests_in_flight", route=completions) == 0
    assert metric(text, "liveweights_requests_in_flight", route="/metrics") == 1
    assert metric(text, "liveweights_request_seconds_count", route=completions) == 3
    assert metric(text, "liveweights_first_token_seconds_count", model="tiny") == 2
    assert metric(text, "liveweights_tokens_total", model="tiny", kind="prompt") == 8
    assert metric(text, "liveweights_tokens_total", model="tiny", kind="completion") == 12
    assert metric(text, "liveweights_generations_total", finish_reason="stop") == 2
    assert metric(text, "liveweights_feedback_total", signal="accepted", outcome="new") == 1
    assert metric(text, "liveweights_feedback_total", signal="accepted", outcome="repeat") == 1
    assert metric(text, "liveweights_resident_checkpoint", checkpoint=BASE) == 1
    assert metric(text, "liveweights_canary_share", alias="tiny") == 0


def test_a_session_meets_one_side_of_a_canary() -> None:
    api = make_api()
    asyncio.run(api.engine.load(Checkpoint(NEXT, "base", Path("."))))
    api.router.set("tiny", BASE, NEXT, 0.5)
    body = {"model": "tiny", "prompt": "a"}
    seen: dict[str, set[str]] = {}
    for session in map(str, range(20)):
        for _ in range(3):
            answer = api.call("POST", "/v1/completions", body, x_session_id=session)
            seen.setdefault(session, set()).add(answer.headers["x-checkpoint"])
    assert all(len(checkpoints) == 1 for checkpoints in seen.values())
    assert set.union(*seen.values()) == {BASE, NEXT}
