"""Counts of a hub: a small server here, and the real client in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import socket
from threading import Thread
from typing import Any

import pytest

PROGRAM = """
import datetime, json, sys
from liveweights.adoption.hub import NotCounted, fetch_snapshots
for one in fetch_snapshots(sys.argv[1:], datetime.date(2026, 11, 29)):
    if isinstance(one, NotCounted):
        print(json.dumps(["not", str(one)]))
    else:
        print(json.dumps([one.model, str(one.day), one.downloads, one.derivatives, one.source]))
"""
MODELS = {
    "org/counted": {"downloadsAllTime": 123456, "childrenModelCount": 7},
    "org/bare": {"downloadsAllTime": 5},
    "org/silent": {},
}
BROKEN = "org/broken"


def run(endpoint: str, *models: str) -> list[Any]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *models],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "HF_ENDPOINT": endpoint, "PYTHONPATH": ":".join(sys.path)},
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture
def hub() -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = self.path.partition("?")[0].removeprefix("/api/models/")
            if name == BROKEN:
                self.close_connection = True  # the client waits for a head
                return
            counts = MODELS.get(name)
            body = json.dumps({"id": name, **counts} if counts is not None else {"error": "no"})
            self.send_response(200 if counts is not None else 404)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_counts_come_with_day_and_source_and_what_is_not_counted_is_named(hub: str) -> None:
    counted, bare, silent, nobody = run(hub, *MODELS, "org/nobody")
    assert counted == ["org/counted", "2026-11-29", 123456, 7, f"{hub}/org/counted"]
    assert bare[2:4] == [5, None]
    assert silent[0] == "not"
    assert "org/silent" in silent[1]
    assert "counts no downloads" in silent[1]
    assert nobody[0] == "not"
    assert "org/nobody" in nobody[1]


def test_a_hub_that_is_not_reached_or_breaks_off_is_told_of_each_model(hub: str) -> None:
    with socket() as free:
        free.bind(("127.0.0.1", 0))
        nowhere = f"http://127.0.0.1:{free.getsockname()[1]}"
    told = run(nowhere, "org/counted", "org/bare")
    assert [one[0] for one in told] == ["not", "not"]
    assert f"org/bare: {nowhere} did not say" in told[1][1]
    broken, counted = run(hub, "org/broken", "org/counted")
    assert broken[0] == "not"
    assert counted[2] == 123456
