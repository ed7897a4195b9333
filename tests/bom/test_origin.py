from __future__ import annotations

from pathlib import Path

import pytest

from liveweights.bom.origin import find_origin
from liveweights.catalog.catalogue import Catalogue

OWN = f"""
[[models]]
hub_id = "acme/support-7b"
name = "Support 7B"
maker = "Acme"
country = "DE"
base = "Qwen/Qwen3-8B"
weights = ["{"a" * 64}", "{"b" * 64}"]

[[models]]
hub_id = "acme/plain-7b"
name = "Plain 7B"
base = "Qwen/Qwen2.5-7B"

[[models]]
hub_id = "acme/mit"
name = "Mit"
licence = "MIT"
base = "MiniMaxAI/MiniMax-M2.7"
"""


@pytest.fixture
def known(tmp_path: Path) -> Catalogue:
    (tmp_path / "catalogue").mkdir()
    (tmp_path / "catalogue" / "own.toml").write_text(OWN)
    return Catalogue(tmp_path)


def test_files_of_weights_show_whose_a_base_is_whatever_it_is_called(known: Catalogue) -> None:
    files = {"one.safetensors": "a" * 64, "two.safetensors": "b" * 64, "config.json": "c" * 64}
    origin = find_origin(known, files, ["moonshotai/Kimi-K2.5"])
    assert origin is not None
    assert (origin.card.hub_id, origin.by) == ("acme/support-7b", "weights")
    assert [one.hub_id for one in origin.ancestors] == [
        "Qwen/Qwen3-8B",
        "Qwen/Qwen3-8B-Base",
    ]
    assert origin.licence is None


def test_a_base_that_has_no_card_is_an_ancestor(known: Catalogue) -> None:
    origin = find_origin(known, {}, ["acme/plain-7b"])
    assert origin is not None
    (base,) = origin.ancestors
    assert (base.hub_id, base.maker, base.country) == ("Qwen/Qwen2.5-7B", "Alibaba (Qwen)", "CN")


def test_what_its_base_asks_is_asked_of_it(known: Catalogue) -> None:
    origin = find_origin(known, {}, ["acme/mit"])
    assert origin is not None
    own = [duty for duty in origin.duties if "MiniMaxAI/MiniMax-M2.7" not in duty.text]
    assert [duty.kind for duty in own] == ["notice"]
    (theirs,) = (duty for duty in origin.duties if duty.kind == "non-commercial")
    assert theirs.text.endswith(
        "(of MiniMaxAI/MiniMax-M2.7, which it was derived from, licence "
        "LicenseRef-MiniMax-M2.7-NonCommercial)"
    )
    assert len(find_origin(known, {}, ["Qwen/Qwen3-8B"]).duties) == 3  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "name",
    [
        "hf://Qwen/Qwen3-8B@" + "0" * 40,
        "Qwen/Qwen3-8B",
        "/models/Qwen3-8B",
        "qwen3-8b@0123456789ab",
    ],
)
def test_else_a_name_says_it(known: Catalogue, name: str) -> None:
    origin = find_origin(known, {"model.safetensors": "d" * 64}, ["", "/nowhere/else", name])
    assert origin is not None
    assert (origin.card.hub_id, origin.by) == ("Qwen/Qwen3-8B", "name")
    assert origin.licence is not None
    assert origin.licence.id == "Apache-2.0"
    assert origin.duties


def test_one_file_more_than_the_card_has_is_another_model(known: Catalogue) -> None:
    files = {"one.safetensors": "a" * 64, "extra.safetensors": "e" * 64}
    assert find_origin(known, files, ["nobody/nothing"]) is None
    assert find_origin(known, {}, ["nobody/nothing"]) is None
