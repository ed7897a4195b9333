"""Models from a hub: asked for in so many words, and at one revision for good.

The hub is a small server here; the client is the real one.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from tests.learn.families import make_family

from liveweights.weights.hub import Address, HubError, origin
from liveweights.weights.models import ModelNotFound, find

OLD, NEW = "a" * 40, "b" * 40


@dataclass
class Hub:
    """One repository, ``org/tiny``, with two commits; ``head`` is what its name stands for."""

    folders: dict[str, Path]
    head: str = OLD
    asked: list[str] = field(default_factory=list[str])
    url: str = ""


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    folders = {OLD: make_family("qwen3", tmp_path / "old"), NEW: tmp_path / "new"}
    make_family("qwen3", folders[NEW])
    (folders[NEW] / "chat_template.jinja").write_text("{{ messages }}")
    for name in ("own_code.py", "pytorch_model.bin"):
        (folders[OLD] / name).write_text("not wanted")
    state = Hub(folders)

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.answer()

        def do_GET(self) -> None:
            self.answer()

        def log_message(self, format: str, *args: Any) -> None:
            pass

        def answer(self) -> None:
            path = self.path.partition("?")[0]
            state.asked.append(path)
            parts = path.strip("/").split("/")
            if parts[:4] == ["api", "models", "org", "tiny"]:
                if parts[4:5] == ["tree"]:
                    files = sorted(state.folders[parts[5]].iterdir())
                    return self.send([
                        {"type": "file", "path": f.name, "size": f.stat().st_size, "oid": _oid(f)}
                        for f in files
                    ])  # fmt: skip
                return self.send({"id": "org/tiny", "sha": state.head, "siblings": []})
            if parts[:3] == ["org", "tiny", "resolve"] and parts[3] in state.folders:
                file = state.folders[parts[3]] / parts[4]
                headers = {"X-Repo-Commit": parts[3], "ETag": f'"{_oid(file)}"'}
                return self.send(file.read_bytes(), **headers)
            return self.send({"error": "Repository not found"}, 404)

        def send(self, body: Any, status: int = 200, **headers: str) -> None:
            raw = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            for name, value in {"Content-Length": str(len(raw)), **headers}.items():
                self.send_header(name, value)
            if status == 404:
                self.send_header("X-Error-Code", "RepoNotFound")
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(raw)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _oid(file: Path) -> str:
    return hashlib.sha1(file.read_bytes()).hexdigest()


def ask(hub: Hub, model: str, folder: Path) -> dict[str, str]:
    """What a process of its own finds: the client reads where the hub is when it is imported."""
    script = """
import json, sys
from pathlib import Path
from liveweights.catalog.card import read_card
from liveweights.weights.models import ModelNotFound, find
cache = Path(sys.argv[2])
try:
    base = find(sys.argv[1], cache)
    print(json.dumps({"id": base.id, "folder": str(base.folder), **read_card(base, cache)}))
except ModelNotFound as error:
    print(json.dumps({"error": str(error)}))
"""
    home = {"HF_HOME": str(folder / "hf"), "HF_ENDPOINT": hub.url, "HF_HUB_DISABLE_XET": "1"}
    done = subprocess.run(
        [sys.executable, "-c", script, model, str(folder / "cache")],
        env={**os.environ, **home}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return json.loads(done.stdout.splitlines()[-1])


def test_a_name_is_pinned_to_the_commit_that_it_stood_for(hub: Hub, tmp_path: Path) -> None:
    first = ask(hub, "hf://org/tiny", tmp_path)
    assert first["origin"] == f"hf://org/tiny@{OLD}"
    found = {file.name for file in Path(first["folder"]).iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= found
    assert not {"own_code.py", "pytorch_model.bin"} & found

    hub.head = NEW
    hub.asked.clear()
    assert ask(hub, "hf://org/tiny", tmp_path) == first
    assert hub.asked == []  # what is here is not asked for

    moved = ask(hub, f"hf://org/tiny@{NEW}", tmp_path)
    assert moved["origin"] == f"hf://org/tiny@{NEW}"
    assert moved["id"].partition("@")[0] == first["id"].partition("@")[0] == "tiny"
    assert moved["id"] != first["id"]
    assert f"/org/tiny/resolve/{NEW}/model.safetensors" in hub.asked
    assert not any("/resolve/main/" in path for path in hub.asked)


def test_what_the_hub_does_not_have_is_said(hub: Hub, tmp_path: Path) -> None:
    said = ask(hub, "hf://org/other", tmp_path)["error"]
    assert "RepositoryNotFoundError" in said
    assert "Traceback" not in said


def test_a_mistyped_folder_is_not_asked_for_on_a_hub(hub: Hub, tmp_path: Path) -> None:
    said = ask(hub, "org/tiny", tmp_path)["error"]
    assert "there is no folder org/tiny; the model of that name on a hub is hf://org/tiny" in said
    assert hub.asked == []


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("hf://org/name", Address("org/name")),
        ("hf://org/Na.me-1/", Address("org/Na.me-1")),
        ("hf://org/name@v1.0", Address("org/name", "v1.0")),
        ("hf://org/name@refs/pr/1", Address("org/name", "refs/pr/1")),
    ],
)
def test_addresses(text: str, address: Address) -> None:
    assert Address.parse(text) == address


@pytest.mark.parametrize("text", ["hf://name", "hf://", "hf://a/b/c", "hf://../x", "hf://a/b@"])
def test_what_is_no_address_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(HubError, match="not of the form"):
        Address.parse(text)
    with pytest.raises(ModelNotFound, match="not of the form"):
        find(text, tmp_path)


def test_the_origin_is_read_off_the_clients_own_folders() -> None:
    assert origin(Path(f"/hf/hub/models--org--na--me/snapshots/{OLD}")) == f"hf://org/na--me@{OLD}"
    assert origin(Path("/models/tiny")) is None
