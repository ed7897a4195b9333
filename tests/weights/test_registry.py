from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

import numpy as np
import psycopg
import pytest
from safetensors.numpy import save_file

from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.registry import (
    NotRegistered,
    Registry,
    RegistryError,
    Tampered,
    get,
    register,
    verify,
)

CARD = {"cycle": 3, "licence": "Apache-2.0", "origin": "test"}


@pytest.fixture
def staging(tmp_path: Path) -> Path:
    return adapter(tmp_path / "staging", 1.0)


def adapter(folder: Path, value: float) -> Path:
    folder.mkdir()
    save_file({"lora_A": np.full(4, value, np.float32)}, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text('{"r": 4}')
    (folder / "probes.json").write_text('{"probes": []}')
    return folder


def store(registry: Registry, staging: Path) -> Checkpoint:
    return registry.store(
        staging, "demo", kind="adapter", base="base@000000000000", parent=None, card=CARD
    )


def test_the_id_is_the_content_and_storing_again_is_harmless(tmp_path: Path, staging: Path) -> None:
    registry = Registry(tmp_path / "checkpoints")
    first = store(registry, staging)
    assert store(registry, staging) == first == registry.load(first.id)
    assert store(registry, adapter(tmp_path / "other", 2.0)).id != first.id
    (staging / "adapter_config.json").write_text('{"r": 8}')
    assert store(registry, staging).id not in (first.id,)
    assert len(registry.checkpoints()) == 3
    assert Registry(tmp_path / "elsewhere").checkpoints() == []


def test_the_card_says_where_it_came_from(tmp_path: Path, staging: Path) -> None:
    checkpoint = store(Registry(tmp_path / "checkpoints"), staging)
    card = json.loads((checkpoint.folder / "card.json").read_text())
    assert card["cycle"] == 3
    assert card["id"] == checkpoint.id
    assert card["base"] == "base@000000000000"
    assert set(card["files"]) == {"adapter_model.safetensors", "adapter_config.json"}
    assert (checkpoint.folder / "probes.json").is_file()


def test_its_readme_says_what_it_is_on_and_under_which_licence(
    tmp_path: Path, staging: Path
) -> None:
    (staging / "README.md").write_text("# Model Card for Model ID\n[More Information Needed]")
    checkpoint = store(Registry(tmp_path / "checkpoints"), staging)
    text = (checkpoint.folder / "README.md").read_text()
    assert text.startswith(f"---\nlicense: Apache-2.0\n---\n# {checkpoint.id}\n")
    assert "A LoRA adapter on `base@000000000000`." in text
    assert "- licence: Apache-2.0" in text
    assert "More Information Needed" not in text


def test_the_same_content_has_the_same_id_everywhere(tmp_path: Path, staging: Path) -> None:
    one, two = Registry(tmp_path / "one"), Registry(tmp_path / "two")
    assert store(one, staging).id == store(two, staging).id


@pytest.mark.parametrize("change", ["changed", "missing", "added"])
def test_a_tampered_file_is_named(tmp_path: Path, staging: Path, change: str) -> None:
    checkpoint = store(Registry(tmp_path / "checkpoints"), staging)
    verify(checkpoint)
    weights = checkpoint.folder / "adapter_model.safetensors"
    if change == "changed":
        content = bytearray(weights.read_bytes())
        content[-1] ^= 1
        weights.write_bytes(content)
        named = weights.name
    elif change == "missing":
        (checkpoint.folder / "adapter_config.json").unlink()
        named = "adapter_config.json"
    else:
        named = "more.safetensors"
        (checkpoint.folder / named).write_bytes(weights.read_bytes())
    with pytest.raises(Tampered, match=f"{named} was {change}"):
        verify(checkpoint)


def test_a_forged_card_does_not_help(tmp_path: Path, staging: Path) -> None:
    registry = Registry(tmp_path / "checkpoints")
    checkpoint, other = store(registry, staging), store(registry, adapter(tmp_path / "b", 2.0))
    for name in ("adapter_model.safetensors", "card.json"):
        (checkpoint.folder / name).write_bytes((other.folder / name).read_bytes())
    with pytest.raises(Tampered, match="of other weights"):
        verify(checkpoint)


def test_a_crash_in_the_middle_leaves_nothing_visible(
    tmp_path: Path, staging: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = Registry(tmp_path / "checkpoints")
    child = os.fork()
    if child == 0:  # dies where the folder would get its name
        monkeypatch.setattr(Path, "rename", lambda *_: os._exit(9))
        store(registry, staging)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    assert registry.checkpoints() == []
    left = [folder.name for folder in registry.folder.iterdir()]
    assert len(left) == 1
    assert left[0].startswith(".")
    assert registry.sweep() == []  # perhaps somebody is at it
    assert registry.sweep(older_than=0) == left
    assert list(registry.folder.iterdir()) == []
    assert store(registry, staging).id in registry.checkpoints()


def test_what_is_no_checkpoint_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    registry, empty = Registry(tmp_path / "checkpoints"), tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(RegistryError, match=r"no \.safetensors"):
        registry.store(empty, "demo", kind="full", base=None, parent=None, card=CARD)
    bare = adapter(tmp_path / "bare", 1.0)
    (bare / "adapter_config.json").unlink()
    with pytest.raises(RegistryError, match=r"adapter_config\.json"):
        store(registry, bare)
    with pytest.raises(RegistryError, match="needs the id of its base"):
        registry.store(bare, "demo", kind="adapter", base=None, parent=None, card=CARD)
    with pytest.raises(RegistryError, match="name"):
        registry.store(bare, "../demo", kind="full", base=None, parent=None, card=CARD)
    assert list(registry.folder.iterdir()) == []
    with pytest.raises(NotRegistered, match="no checkpoint demo@1"):
        registry.load("demo@1")


def test_the_database_knows_what_was_registered(
    database_dsn: str, tmp_path: Path, staging: Path
) -> None:
    adapted = store(Registry(tmp_path / "checkpoints"), staging)
    base = Checkpoint("base@000000000000", "base", tmp_path / "base")

    async def go() -> None:
        async with await psycopg.AsyncConnection.connect(database_dsn) as conn:
            with pytest.raises(NotRegistered, match="before its base"):
                await register(conn, adapted)
            await register(conn, base, {})
            await register(conn, adapted)
            await register(conn, adapted)
            assert await get(conn, adapted.id) == adapted
            moved = Checkpoint(base.id, "base", tmp_path / "moved")
            await register(conn, moved, {})
            assert await get(conn, base.id) == moved
            with pytest.raises(NotRegistered, match="nobody@1"):
                await get(conn, "nobody@1")

    asyncio.run(go())
