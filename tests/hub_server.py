"""A small hub for the real client: repositories that are read, made and committed to over HTTP.

It speaks what https://huggingface.co/docs/hub/api names, and Git LFS's batch API with its `basic`
transfer, which the client falls back to where HF_HUB_DISABLE_XET is set.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

Files = dict[str, bytes]
TOKENS = {"writer": "write", "reader": "read"}
"""What each token may do."""


@dataclass
class Repository:
    """Commits by their id, the last one of which is its name's unless ``head`` says another."""

    commits: dict[str, Files] = field(default_factory=dict[str, Files])
    head: str = ""
    private: bool = False

    def add(self, files: Files) -> str:
        """A commit of what there was and these files; its id."""
        now = {**self.commits.get(self.head, {}), **files}
        self.head = hashlib.sha1(repr((self.head, sorted(now.items()))).encode()).hexdigest()
        self.commits[self.head] = now
        return self.head


@dataclass
class Hub:
    """``asked`` are the paths of all requests; ``fails`` those that are answered by a 500, and
    ``endless`` those whose content goes on for as long as somebody takes it."""

    repositories: dict[str, Repository] = field(default_factory=dict[str, Repository])
    asked: list[str] = field(default_factory=list[str])
    fails: set[str] = field(default_factory=set[str])
    endless: set[str] = field(default_factory=set[str])
    url: str = ""
    objects: Files = field(default_factory=Files)

    def environment(self, folder: Path, token: str | None = None) -> dict[str, str]:
        """Of a process that asks this hub, with ``folder`` for what it keeps: the client reads
        where the hub is when it is imported."""
        ours = {"HF_HOME": str(folder / "hf"), "HF_ENDPOINT": self.url, "HF_HUB_DISABLE_XET": "1"}
        others = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
        return {**others, **ours, **({"HF_TOKEN": token} if token else {})}


@contextmanager
def running() -> Generator[Hub]:
    """A hub without repositories."""
    hub = Hub()

    class Handler(_Handler):
        state = hub

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    state: Hub

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_PUT(self) -> None:
        self._answer()

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def _answer(self) -> None:
        path = self.path.partition("?")[0]
        self.state.asked.append(path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if path in self.state.fails:
            return self._send({"error": "it fails"}, 500)
        match path.strip("/").split("/"):
            case ["api", "whoami-v2"]:
                role = self._role()
                told = {"type": "user", "name": "org", "auth": {"accessToken": {"role": role}}}
                return self._send(told) if role else self._send({"error": "who?"}, 401)
            case ["api", "validate-yaml"]:
                return self._send({"errors": [], "warnings": []})
            case ["api", "repos", "create"]:
                return self._create(json.loads(body))
            case ["api", "models", org, name, *rest] if repository := self._find(f"{org}/{name}"):
                return self._models(f"{org}/{name}", repository, rest, body)
            case [org, name, "resolve", commit, *place] if repository := self._find(
                f"{org}/{name}"
            ):
                content = repository.commits.get(commit, {}).get("/".join(place))
                if content is None:
                    return self._send({"error": "Entry not found"}, 404, "EntryNotFound")
                headers = {"X-Repo-Commit": commit, "ETag": f'"{_oid(content)}"'}
                if path in self.state.endless and self.command == "GET":
                    return self._trickle(**headers)
                return self._send(content, **headers)
            case [_, _, "info", "lfs", "objects", "batch"]:
                return self._batch(json.loads(body))
            case ["lfs", oid] if self.command == "PUT":
                self.state.objects[oid] = body
                return self._send({})
            case ["lfs", oid, "verify"]:
                good = hashlib.sha256(self.state.objects.get(oid, b"")).hexdigest() == oid
                return self._send({}, 200 if good else 422)
            case _:
                return self._send({"error": "Repository not found"}, 404, "RepoNotFound")

    def _role(self) -> str | None:
        return TOKENS.get(self.headers.get("Authorization", "").removeprefix("Bearer "))

    def _find(self, name: str) -> Repository | None:
        found = self.state.repositories.get(name)
        return found if found and (self._role() or not found.private) else None

    def _create(self, asked: dict[str, Any]) -> None:
        if self._role() != "write":
            return self._send({"error": "not allowed"}, 403)
        name = f"{asked['organization']}/{asked['name']}"
        told = {"url": f"{self.state.url}/{name}"}
        if name in self.state.repositories:
            return self._send({"error": "You already created this model repo", **told}, 409)
        made = self.state.repositories[name] = Repository(private=asked["visibility"] == "private")
        made.add({".gitattributes": b"*.safetensors filter=lfs\n"})
        return self._send(told)

    def _models(self, name: str, repository: Repository, rest: list[str], body: bytes) -> None:
        match rest:
            case ["tree", commit, *_]:
                files = repository.commits[repository.head if commit == "main" else commit]
                return self._send([
                    {"type": "file", "path": path, "size": len(content), "oid": _oid(content)}
                    for path, content in sorted(files.items())
                ])  # fmt: skip
            case ["preupload", "main"]:
                paths = [one["path"] for one in json.loads(body)["files"]]
                return self._send({
                    "files": [
                        {"path": path, "uploadMode": _mode(path), "shouldIgnore": False}
                        for path in paths
                    ]
                })  # fmt: skip
            case ["commit", "main"]:
                if self._role() != "write":
                    return self._send({"error": "not allowed"}, 403)
                commit = repository.add(dict(map(self._take, body.splitlines()[1:])))
                url = f"{self.state.url}/{name}/commit/{commit}"
                return self._send({"commitUrl": url, "commitOid": commit, "success": True})
            case _:
                told = {"id": name, "sha": repository.head, "private": repository.private}
                return self._send({**told, "siblings": []})

    def _take(self, line: bytes) -> tuple[str, bytes]:
        told = json.loads(line)
        value = told["value"]
        if told["key"] == "lfsFile":
            return value["path"], self.state.objects[value["oid"]]
        assert told["key"] == "file"
        return value["path"], base64.b64decode(value["content"])

    def _batch(self, asked: dict[str, Any]) -> None:
        if self._role() != "write":
            return self._send({"error": "not allowed"}, 403)
        objects: list[dict[str, Any]] = []
        for one in asked["objects"]:
            href = f"{self.state.url}/lfs/{one['oid']}"
            actions = {"upload": {"href": href}, "verify": {"href": f"{href}/verify"}}
            objects.append({**one, "actions": actions})
        return self._send({"transfer": "basic", "objects": objects})

    def _send(self, body: Any, status: int = 200, code: str = "", **headers: str) -> None:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(raw)), **headers}.items():
            self.send_header(name, value)
        if code:
            self.send_header("X-Error-Code", code)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(raw)

    def _trickle(self, **headers: str) -> None:
        self.send_response(200)
        for name, value in {"Content-Length": str(1 << 40), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        with suppress(OSError):
            while True:
                self.wfile.write(b"0")
                time.sleep(0.05)


def _mode(path: str) -> str:
    return "lfs" if path.endswith((".safetensors", ".gguf")) else "regular"


def _oid(content: bytes) -> str:
    return hashlib.sha1(content).hexdigest()
