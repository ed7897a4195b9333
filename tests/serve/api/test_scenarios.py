"""One list of scenarios, run by the official Python and Node clients, streamed and whole."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import openai
import pytest
from tests.clients.packages import FETCHES, OPENAI_NODE

from .doubles import MemoryRecorder, make_api
from .servers import serving
from .three import NAMES, three_models

FOLDER = Path(__file__).parent
SCENARIOS: list[dict[str, Any]] = json.loads((FOLDER / "scenarios.json").read_text())
RUNS = [(s, stream) for s in SCENARIOS for stream in (False, True)[: 1 + s.get("streams", True)]]


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[str, str]]:
    """A server for everything that the engine shall say; the usual is ''."""
    with ExitStack() as stack:
        said = {scenario.get("says", "") for scenario in SCENARIOS}
        yield {
            says: stack.enter_context(serving(make_api(says or "hello", context_length=4096).app))
            for says in said
        }


def facts(call: str, result: Any, stream: bool) -> dict[str, Any]:
    """What ``expect`` in a scenario speaks of, from plain data of either client."""
    if isinstance(result, dict) and set(result) == {"error"}:
        return result
    if call == "responses.create":
        return _of_response(result[-1]["response"] if stream else result)
    if stream:
        return _of_chunks(result)
    choices = result["choices"]
    messages = [choice.get("message") or {"content": choice.get("text")} for choice in choices]
    logprobs = [choice["logprobs"] for choice in choices if choice.get("logprobs")]
    return {
        "text": "".join(message["content"] or "" for message in messages),
        "finish": [choice["finish_reason"] for choice in choices],
        "calls": [_call(c["function"]) for m in messages for c in m.get("tool_calls") or ()],
        "completion_tokens": result["usage"]["completion_tokens"],
        "logprobs": sum(len(told.get("content") or told.get("tokens")) for told in logprobs),
    }


def _of_chunks(chunks: list[dict[str, Any]]) -> dict[str, Any]:
    texts: dict[int, str] = {}
    finish: dict[int, str] = {}
    calls: list[Any] = []
    logprobs = 0
    for chunk in chunks:
        for choice in chunk["choices"]:
            delta = choice.get("delta") or {"content": choice.get("text")}
            at = choice["index"]
            texts[at] = texts.get(at, "") + (delta.get("content") or "")
            calls += [_call(call["function"]) for call in delta.get("tool_calls") or ()]
            told = choice.get("logprobs") or {}
            logprobs += len(told.get("content") or told.get("tokens") or ())
            if choice.get("finish_reason"):
                finish[at] = choice["finish_reason"]
    return {
        "text": "".join(texts[at] for at in sorted(texts)),
        "finish": [finish[at] for at in sorted(finish)],
        "calls": calls,
        "logprobs": logprobs,
    }


def _of_response(response: dict[str, Any]) -> dict[str, Any]:
    parts = [part for item in response["output"] for part in item.get("content") or ()]
    return {
        "text": "".join(part["text"] for part in parts),
        "finish": [response["status"]],
        "calls": [_call(item) for item in response["output"] if item["type"] == "function_call"],
        "completion_tokens": response["usage"]["output_tokens"],
    }


def _call(function: dict[str, Any]) -> list[Any]:
    return [function["name"], json.loads(function["arguments"])]


def check(scenario: dict[str, Any], result: Any, stream: bool) -> None:
    found = facts(scenario["call"], result, stream)
    expected = dict(scenario["expect"])
    if stream and scenario["call"] != "responses.create":
        expected.pop("completion_tokens", None)
    assert {name: found[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("scenario", "stream"), RUNS, ids=[f"{s['name']}-{stream}" for s, stream in RUNS]
)
def test_python(scenario: dict[str, Any], stream: bool, servers: dict[str, str]) -> None:
    run_python(scenario, stream, servers[scenario.get("says", "")])


def run_python(
    scenario: dict[str, Any], stream: bool, url: str, parameters: dict[str, Any] | None = None
) -> None:
    """``parameters`` take the place of the scenario's own."""
    parameters = dict(parameters or scenario["parameters"])
    extra = {"unheard_of": parameters.pop("unheard_of")} if "unheard_of" in parameters else None
    more: dict[str, Any] = {"stream": True} if stream else {}
    with openai.OpenAI(base_url=url, api_key="any", max_retries=0, timeout=120) as client:
        call: Any = client
        for part in scenario["call"].split("."):
            call = getattr(call, part)
        try:
            answer = call(**parameters, **more, extra_body=extra)
            result: Any = [event.to_dict() for event in answer] if stream else answer.to_dict()
        except openai.APIStatusError as error:
            result = {
                "error": {"status": error.status_code, "code": error.code, "param": error.param}
            }
    check(scenario, result, stream)


@pytest.fixture(scope="module")
def three() -> Iterator[dict[str, tuple[str, MemoryRecorder]]]:
    """The same with three models each, and what each server records."""
    with ExitStack() as stack:
        said = {scenario.get("says", "") for scenario in SCENARIOS}
        yield {
            says: stack.enter_context(three_models(says or "hello", context_length=4096))
            for says in said
        }


def to_model(name: str, scenario: dict[str, Any]) -> dict[str, Any]:
    """The scenario's parameters, asked of that model."""
    parameters = scenario["parameters"]
    return {**parameters, "model": name} if parameters["model"] == "tiny" else parameters


@pytest.mark.parametrize("name", NAMES)
def test_python_with_three_models(name: str, three: dict[str, tuple[str, MemoryRecorder]]) -> None:
    for _, recorder in three.values():
        recorder.generations.clear()
    for scenario, stream in RUNS:
        url, _ = three[scenario.get("says", "")]
        run_python(scenario, stream, url, to_model(name, scenario))
    for _, recorder in three.values():
        assert {row.alias for row in recorder.generations.values()} == {name}


@FETCHES
@pytest.mark.parametrize("name", NAMES[1:])
def test_node_with_three_models(
    name: str, three: dict[str, tuple[str, MemoryRecorder]], tmp_path: Path
) -> None:
    asked = [{**one, "parameters": to_model(name, one)} for one in SCENARIOS]
    servers = {says: url for says, (url, _) in three.items()}
    results = run_node(servers, asked, tmp_path / "scenarios.json")
    for scenario in SCENARIOS:
        for stream, result in enumerate(results[scenario["name"]]):
            check(scenario, result, bool(stream))


@pytest.fixture(scope="module")
def node_results(
    servers: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, list[Any]]:
    return run_node(servers, SCENARIOS, tmp_path_factory.mktemp("node") / "scenarios.json")


def run_node(
    servers: dict[str, str], scenarios: list[dict[str, Any]], file: Path
) -> dict[str, list[Any]]:
    """What the official Node client has of each scenario, which it reads from ``file``."""
    file.write_text(json.dumps(scenarios))
    entry = OPENAI_NODE.installed() / "node_modules" / "openai" / "index.mjs"
    command = ["node", str(FOLDER / "scenarios.mjs"), str(entry), str(file), json.dumps(servers)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@FETCHES
@pytest.mark.parametrize("scenario", SCENARIOS, ids=[s["name"] for s in SCENARIOS])
def test_node(scenario: dict[str, Any], node_results: dict[str, list[Any]]) -> None:
    for stream, result in enumerate(node_results[scenario["name"]]):
        check(scenario, result, bool(stream))
