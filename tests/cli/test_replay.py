"""Replayed users against a service that asks for keys, and says no to some of what they ask."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.serve.api.servers import serving
from typer.testing import CliRunner, Result

from liveweights.cli import app
from liveweights.replay.corpus import Corpus
from liveweights.service_key import make_key, read_key

KEY = "key-of-one-012345"


class Service:
    """Answers completions of models that it has, and takes feedback, for ``keys``; ``lost`` is how
    many completions it fails first."""

    def __init__(self, *keys: str) -> None:
        self.keys = {f"Bearer {key}".encode() for key in keys}
        self.seen: set[bytes] = set()
        self.lost = 0
        self.takes_feedback = True

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        body, more = b"", True
        while more:
            part = await receive()
            body, more = body + part.get("body", b""), part.get("more_body", False)
        given = dict(scope["headers"]).get(b"authorization", b"")
        self.seen.add(given)
        status, answer = self._answer(scope["path"], given, json.loads(body))
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": json.dumps(answer).encode()})

    def _answer(self, path: str, key: bytes, asked: dict[str, Any]) -> tuple[int, object]:
        if key not in self.keys:
            return 401, {"error": "Missing or unknown API key."}
        if path == "/v1/feedback":
            return (200 if self.takes_feedback else 503), {}
        if asked["model"] == "gone@1":
            return 404, {"error": "no model gone@1"}
        if self.lost:
            self.lost -= 1
            return 503, {"error": "busy"}
        choice = {"text": " 1", "index": 0, "finish_reason": "stop"}
        return 200, {"id": "g", "choices": [choice], "checkpoint": asked["model"]}


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return Corpus.find(max_files=10)


@pytest.fixture(autouse=True)
def found_once(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading what is installed takes seconds."""
    monkeypatch.setattr(Corpus, "find", lambda: corpus)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def service(home: Path) -> Iterator[tuple[Service, str]]:
    home.mkdir()
    one = Service(KEY, make_key(home))
    with serving(one) as url:
        yield one, url.removesuffix("/v1")


def ask(command: Sequence[str], url: str, home: Path, key: str = "") -> Result:
    how = ["--url", url, "--home", str(home), *(["--key", key] if key else [])]
    return CliRunner().invoke(app, ["replay", *command, *how], env={"OPENAI_API_KEY": ""})


RUN = ("run", "--requests", "3")
MEASURE = ("measure", "--files", "2")


def test_traffic_is_of_the_key_that_is_given(service: tuple[Service, str], home: Path) -> None:
    one, url = service
    done = ask(RUN, url, home, KEY)
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout) == {"requests": 6, "failed": 0}
    assert one.seen == {f"Bearer {KEY}".encode()}


def test_traffic_that_fails_as_a_whole_ends_with_the_reason(
    service: tuple[Service, str], home: Path
) -> None:
    one, url = service
    for key in ("", "another-key-012345"):
        done = ask(RUN, url, home, key)
        assert (done.exit_code, json.loads(done.stdout)) == (1, {"requests": 3, "failed": 3})
        assert "3 of 3 requests failed" in done.stderr
        assert "401" in done.stderr
        assert "Missing or unknown API key." in done.stderr
    one.takes_feedback = False
    assert ask(RUN, url, home, KEY).exit_code == 1
    one.takes_feedback, one.lost = True, 1
    done = ask(RUN, url, home, KEY)
    assert done.exit_code == 0
    assert "1 of 5 requests failed, the last one with: POST /v1/completions: 503" in done.stderr


def test_a_measurement_asks_as_the_service_itself_and_says_what_is_lost(
    service: tuple[Service, str], home: Path
) -> None:
    one, url = service
    done = ask((*MEASURE, "a@1", "b@1"), url, home)
    assert done.exit_code == 0, done.output
    whole = json.loads(done.stdout)
    assert whole["lost"] == 0
    assert one.seen == {f"Bearer {read_key(home)}".encode()}
    one.lost = 2
    done = ask((*MEASURE, "a@1", "b@1"), url, home)
    assert done.exit_code == 0, done.output
    part = json.loads(done.stdout)
    assert (part["positions"], part["lost"]) == (whole["positions"] - 2, 2)
    assert "2 of" in done.stderr


def test_a_measurement_of_nothing_ends_with_the_reason(
    service: tuple[Service, str], home: Path
) -> None:
    done = ask((*MEASURE, "a@1", "gone@1"), service[1], home)
    assert (done.exit_code, done.stdout) == (1, "")
    assert "no model gone@1" in done.stderr
