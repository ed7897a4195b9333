"""Models from a hub: asked for in so many words, and at one revision for good.

The hub is a small server here; the client is the real one.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.hub_server import Hub, Repository, running
from tests.learn.families import make_family

from liveweights.weights.hub import Address, HubError, origin
from liveweights.weights.models import ModelNotFound, find

OLD, NEW = "a" * 40, "b" * 40
NAME = "org/tiny"


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    """One repository with two commits, the older of which is its name's."""
    old, new = (
        {file.name: file.read_bytes() for file in make_family("qwen3", tmp_path / name).iterdir()}
        for name in ("old", "new")
    )
    new["chat_template.jinja"] = b"{{ messages }}"
    old |= {"own_code.py": b"not wanted", "pytorch_model.bin": b"not wanted"}
    old |= {"LICENSE": b"terms", "Notice.txt": b"notice", "LICENSES/MIT.txt": b"mit"}
    with running() as hub:
        hub.repositories[NAME] = Repository({OLD: old, NEW: new}, OLD)
        yield hub


def ask(hub: Hub, model: str, folder: Path) -> dict[str, Any]:
    """What a process of its own finds: the client reads where the hub is when it is imported."""
    script = """
import json, sys
from pathlib import Path
from liveweights.catalog.card import read_card
from liveweights.weights.models import ModelAway, ModelNotFound, find
cache = Path(sys.argv[2])
try:
    base = find(sys.argv[1], cache)
    print(json.dumps({"id": base.id, "folder": str(base.folder), **read_card(base, cache)}))
except ModelNotFound as error:
    print(json.dumps({"error": str(error), "away": isinstance(error, ModelAway)}))
"""
    done = subprocess.run(
        [sys.executable, "-c", script, model, str(folder / "cache")],
        env=hub.environment(folder), capture_output=True, text=True, check=True,
    )  # fmt: skip
    return json.loads(done.stdout.splitlines()[-1])


def test_a_name_is_pinned_to_the_commit_that_it_stood_for(hub: Hub, tmp_path: Path) -> None:
    first = ask(hub, "hf://org/tiny", tmp_path)
    assert first["origin"] == f"hf://org/tiny@{OLD}"
    found = {file.name for file in Path(first["folder"]).iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= found
    assert {"LICENSE", "Notice.txt"} <= found
    assert Path(first["folder"], "LICENSES/MIT.txt").read_bytes() == b"mit"
    assert not {"own_code.py", "pytorch_model.bin"} & found

    hub.repositories[NAME].head = NEW
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
    told = ask(hub, "hf://org/other", tmp_path)
    assert "RepositoryNotFoundError" in told["error"]
    assert "Traceback" not in told["error"]
    assert not told["away"]


def test_a_hub_that_is_away_or_fails_may_be_asked_again(hub: Hub, tmp_path: Path) -> None:
    hub.fails.add(f"/api/models/{NAME}")
    assert ask(hub, "hf://org/tiny", tmp_path)["away"]
    hub.fails = {f"/org/tiny/resolve/{OLD}/model.safetensors"}
    assert ask(hub, "hf://org/tiny", tmp_path)["away"]
    for hub.url in ("http://127.0.0.1:9", "http://nowhere.invalid"):  # where nobody listens
        told = ask(hub, "hf://org/tiny", tmp_path)
        assert told["away"]
        assert "cannot be had now" in told["error"]


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
