"""Exports on a hub: the client is the real one, the hub a small server here."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.hub_server import Hub, Repository, running

REPOSITORY = "org/learnt"
SCRIPT = """
import json, sys
from dataclasses import asdict
from pathlib import Path
from liveweights.sharing.hub import check_room, upload
from liveweights.weights.hub import Address, HubError
address, folder, public = Address.parse(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] == "public"
try:
    if "unchecked" not in sys.argv:
        check_room(address, public=public)
    print(json.dumps(asdict(upload(folder, address, public=public, message="learnt"))))
except HubError as error:
    print(json.dumps({"error": str(error)}))
"""


@pytest.fixture
def hub() -> Iterator[Hub]:
    with running() as hub:
        yield hub


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "out" / "inner").mkdir(parents=True)
    (tmp_path / "out" / "README.md").write_text("---\nlicense: mit\n---\n")
    (tmp_path / "out" / "inner" / "card.json").write_text("{}")
    (tmp_path / "out" / "adapter_model.safetensors").write_bytes(bytes(range(256)) * 5000)
    return tmp_path / "out"


def put(
    hub: Hub,
    folder: Path,
    token: str | None = "writer",
    to: str = f"hf://{REPOSITORY}",
    *,
    public: bool = False,
    checked: bool = True,
    **changes: str,
) -> dict[str, Any]:
    done = subprocess.run(
        [
            *(sys.executable, "-c", SCRIPT, to, str(folder)),
            *("public" if public else "private", "checked" if checked else "unchecked"),
        ],
        env={**hub.environment(folder.parent, token), **changes},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("public", [False, True])
def test_a_folder_becomes_one_commit_of_a_new_repository(
    hub: Hub, folder: Path, public: bool
) -> None:
    done = put(hub, folder, public=public)
    made = hub.repositories[REPOSITORY]
    assert done == {"url": f"{hub.url}/{REPOSITORY}", "commit": made.head}
    assert made.private is not public
    assert len(made.commits) == 2  # a hub makes the first one itself
    files = {one.relative_to(folder).as_posix(): one for one in folder.rglob("*") if one.is_file()}
    assert made.commits[made.head].keys() == {".gitattributes", *files}
    assert all(made.commits[made.head][name] == one.read_bytes() for name, one in files.items())


def test_a_repository_with_something_in_it_is_left_alone(hub: Hub, folder: Path) -> None:
    hub.repositories[REPOSITORY] = Repository(private=True)
    hub.repositories[REPOSITORY].add({".gitattributes": b""})
    made = put(hub, folder)
    before = dict(hub.repositories[REPOSITORY].commits)
    assert made["commit"] in before
    said = put(hub, folder)["error"]
    assert f"hf://{REPOSITORY} is there already, with README.md and more" in said
    assert hub.repositories[REPOSITORY].commits == before


def test_an_empty_repository_that_everybody_sees_is_filled_only_if_that_is_said(
    hub: Hub, folder: Path
) -> None:
    hub.repositories[REPOSITORY] = Repository(private=False)
    hub.repositories[REPOSITORY].add({".gitattributes": b""})
    # It may also have been made since it was looked for.
    for checked in (True, False):
        said = put(hub, folder, checked=checked)["error"]
        assert f"hf://{REPOSITORY} is there already, and everybody may see it" in said
    assert len(hub.repositories[REPOSITORY].commits) == 1
    assert put(hub, folder, public=True)["commit"] == hub.repositories[REPOSITORY].head


def test_what_was_broken_off_is_done_by_doing_it_again(hub: Hub, folder: Path) -> None:
    commit = f"/api/models/{REPOSITORY}/commit/main"
    hub.fails.add(commit)
    said = put(hub, folder)["error"]
    assert f"the hub at {hub.url} refuses: 500" in said
    assert len(hub.repositories[REPOSITORY].commits) == 1
    hub.fails.clear()
    assert put(hub, folder)["commit"] == hub.repositories[REPOSITORY].head
    assert len(hub.repositories[REPOSITORY].commits) == 2


def test_who_may_not_write_is_told_before_anything_is_made(hub: Hub, folder: Path) -> None:
    for token, why in (
        (None, "there is no token to write with: `hf auth login`, or HF_TOKEN"),
        ("nobody", "it does not know the token"),
        ("reader", "the token may read only"),
    ):
        assert why in put(hub, folder, token)["error"]
    assert "name a repository alone" in put(hub, folder, to=f"hf://{REPOSITORY}@main")["error"]
    assert hub.repositories == {}


def test_no_hub_is_said(hub: Hub, folder: Path) -> None:
    nowhere = "http://127.0.0.1:9"
    said = put(hub, folder, HF_ENDPOINT=nowhere)["error"]
    assert f"the hub at {nowhere} did not take it (ConnectError: " in said
    said = put(hub, folder, HF_HUB_OFFLINE="1")["error"]
    assert said == "HF_HUB_OFFLINE is set: no hub is asked"
