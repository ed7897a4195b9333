from __future__ import annotations

from pathlib import Path

import pytest

from liveweights.catalog.catalogue import Catalogue
from liveweights.catalog.lookup import locate

OWN = f"""
[[models]]
hub_id = "acme/support-7b"
name = "Support 7B"
weights = ["{"a" * 64}", "{"b" * 64}"]
"""


@pytest.fixture
def known(tmp_path: Path) -> Catalogue:
    (tmp_path / "catalogue").mkdir()
    (tmp_path / "catalogue" / "own.toml").write_text(OWN)
    return Catalogue(tmp_path)


def test_files_of_weights_count_before_names(known: Catalogue) -> None:
    files = {"one.safetensors": "a" * 64, "config.json": "c" * 64}
    located = locate(known, ["Kimi-K2.5"], files)
    assert located is not None
    assert (located.card.hub_id, located.by) == ("acme/support-7b", "weights")
    quantised = locate(known, [], {"00001.gguf": "b" * 64})
    assert quantised is not None
    assert quantised.card.hub_id == "acme/support-7b"


@pytest.mark.parametrize(
    "name",
    [
        f"hf://Qwen/Qwen3-8B@{'0' * 40}", "Qwen/Qwen3-8B", "/models/Qwen3-8B",
        "qwen3-8b@0123456789ab",
    ],
)  # fmt: skip
def test_else_the_first_name_that_is_a_cards(known: Catalogue, name: str) -> None:
    located = locate(known, ["", "/nowhere/else", name, "acme/support-7b"], {})
    assert located is not None
    assert (located.card.hub_id, located.by) == ("Qwen/Qwen3-8B", "name")


def test_no_card_is_an_answer(known: Catalogue) -> None:
    assert locate(known, ["no-such-model"]) is None
    assert locate(known, [], {"a.safetensors": "a" * 64, "b.safetensors": "e" * 64}) is None
