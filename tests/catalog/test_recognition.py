"""Recognising checkpoints: what is claimed, and that nothing wrong is."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from tests.learn.families import make_config

from liveweights.catalog.cards import Card
from liveweights.catalog.catalogue import Catalogue
from liveweights.catalog.fingerprint import Shape, plain_type
from liveweights.catalog.recognition import Evidence, read_evidence, recognise
from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.packaged import packaged_gguf

CARDS = list(Catalogue().cards.values())
WHOLE = [card for card in CARDS if card.architecture and card.layers and card.hidden and card.vocab]
HASH = "0" * 64


def evidence_of(card: Card, **changes: object) -> Evidence:
    """What a checkpoint of that card would show, with its shape changed."""
    assert card.architecture is not None
    shape = Shape(
        model_type=plain_type(card.architecture.model_type),
        layers=card.layers,
        hidden=card.hidden,
        vocab=card.vocab,
        experts=card.experts,
    )
    return Evidence(
        weights=frozenset({HASH}),
        shape=dataclasses.replace(shape, **changes),  # type: ignore[arg-type]
        vocabulary=card.tokenizer,
        parameters=card.parameters_total,
    )


def test_many_cards_have_a_whole_shape() -> None:
    assert len(WHOLE) > 110


@pytest.mark.parametrize("card", WHOLE, ids=lambda card: card.hub_id)
def test_a_checkpoint_of_each_card_is_alike_it(card: Card) -> None:
    found = recognise(evidence_of(card), CARDS)
    assert found.by == "shape"
    assert card in found.cards
    assert found.family in (None, card.family)
    assert found.parameters in (None, card.parameters_total)
    # Nothing beyond what all of them have in common.
    assert (found.family is None) == (len({one.family for one in found.cards}) > 1)


def test_several_of_one_shape_are_all_named() -> None:
    kimi = recognise(evidence_of(next(c for c in WHOLE if c.name == "Kimi K2.5")), CARDS)
    assert [card.name for card in kimi.cards] == ["Kimi K2.5", "Kimi K2.6", "Kimi K2.7 Code"]
    assert kimi.family == "Kimi K2"
    qwen = recognise(evidence_of(next(c for c in WHOLE if c.name == "Qwen3.6-27B")), CARDS)
    assert {card.family for card in qwen.cards} >= {"Qwen3.5", "Qwen3.6", "Qwen3.8"}
    assert qwen.family is None


@given(
    st.sampled_from(WHOLE),
    st.sampled_from(["layers", "hidden", "vocab", "experts"]),
    st.integers(-(1 << 12), 1 << 12).filter(bool),
)
def test_any_other_shape_is_not_that_card(card: Card, member: str, change: int) -> None:
    before = getattr(card, member) or 0
    value = before + change
    if value < 1 or (member == "vocab" and 0 < change <= 0.01 * before):
        return  # a fine-tune adds that many tokens
    found = recognise(evidence_of(card, **{member: value}), CARDS)
    assert card not in found.cards
    assert all(getattr(one, member) == value or member == "vocab" for one in found.cards)


@given(st.sampled_from(WHOLE), st.sampled_from(["model_type", "layers", "hidden", "vocab"]))
def test_what_is_not_there_is_not_guessed(card: Card, member: str) -> None:
    found = recognise(
        evidence_of(card, **{member: "other" if member == "model_type" else None}), CARDS
    )
    assert found.by == "unknown"
    assert found.cards == ()
    assert found.family is None
    assert found.reason


def test_added_tokens_and_another_number_of_parameters() -> None:
    card = next(c for c in WHOLE if c.name == "Llama 3.1 8B Instruct")
    assert card.vocab is not None
    assert card.parameters_total is not None
    assert card in recognise(evidence_of(card, vocab=card.vocab + 2), CARDS).cards
    half = dataclasses.replace(evidence_of(card), parameters=card.parameters_total // 2)
    found = recognise(half, CARDS)
    assert found.by == "unknown"
    assert "not so many" in found.reason
    packed = dataclasses.replace(half, parameters=None)
    assert card in recognise(packed, CARDS).cards


def test_files_of_a_card_are_that_model_whatever_its_config_says() -> None:
    card = Card(hub_id="a/b", name="b", family="B", weights=("1" * 64, "2" * 64))
    whole = Evidence(weights=frozenset(card.weights), shape=None, vocabulary=None, parameters=None)
    found = recognise(whole, [card, *CARDS])
    assert (found.by, found.cards, found.family) == ("weights", (card,), "B")
    for weights in (frozenset[str](), frozenset({*card.weights, HASH})):
        other = dataclasses.replace(whole, weights=weights)
        assert recognise(other, [card, *CARDS]).by == "unknown"


@pytest.mark.parametrize("family", ["llama", "gpt2", "mixtral", "deepseek_v3", "gpt_oss"])
def test_tiny_models_of_known_families_are_nobody_s(family: str, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    folder = tmp_path / family
    model = AutoModelForCausalLM.from_config(make_config(family))
    model.save_pretrained(folder)
    found = recognise(read_evidence(folder, tmp_path), CARDS)
    assert found.by == "unknown"
    assert "no card has its shape" in found.reason


def test_what_files_say_of_themselves_is_told_and_claims_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "README.md").write_text("---\nbase_model:\n- meta-llama/Llama-3.1-8B\n---\n")
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "x/y"}))
    found = recognise(read_evidence(folder, tmp_path), CARDS)
    assert found.by == "unknown"
    assert found.says == (
        "adapter_config.json says base_model_name_or_path: x/y",
        "README.md says base_model: meta-llama/Llama-3.1-8B",
    )


def test_integers_that_share_a_number_are_not_counted(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    save_file({"w": torch.zeros(8, 8, dtype=torch.int32)}, folder / "model.safetensors")
    assert read_evidence(folder, tmp_path).parameters is None
    save_file(
        {"w": torch.zeros(100, 8), "ids": torch.zeros(4, dtype=torch.int64)},
        folder / "model.safetensors",
    )
    assert read_evidence(folder, tmp_path).parameters == 804


@pytest.mark.model
def test_the_packaged_gguf_is_what_the_folder_is_that_was_made_of_it(
    base: Checkpoint, model_cache: Path, tmp_path: Path
) -> None:
    file = packaged_gguf()
    assert file is not None
    evidence = read_evidence(file, tmp_path)
    of_folder = read_evidence(base.folder, model_cache)
    assert evidence.vocabulary == of_folder.vocabulary
    assert evidence.parameters == of_folder.parameters == 134_515_008
    found = recognise(evidence, CARDS)
    assert (found.by, found.family) == ("weights", "SmolLM2")
    assert f"{file.name} says general.organization: HuggingFaceTB" in found.says
    found = recognise(dataclasses.replace(evidence, weights=frozenset({HASH})), CARDS)
    assert found.by == "shape"
    assert [card.name for card in found.cards] == ["SmolLM2 135M Instruct"]


def test_a_vocabulary_excludes_only_where_both_are_known() -> None:
    card = next(one for one in WHOLE if one.name == "SmolLM2 135M Instruct")
    for vocabulary, alike in ((card.tokenizer, True), (None, True), (HASH, False)):
        found = recognise(dataclasses.replace(evidence_of(card), vocabulary=vocabulary), CARDS)
        assert (card in found.cards) is alike


def test_the_shape_of_a_split_gguf_and_the_parameters_of_all_its_files(tmp_path: Path) -> None:
    for number, name in enumerate(("a", "b"), 1):
        writer = gguf.GGUFWriter(tmp_path / f"m-0000{number}-of-00002.gguf", "qwen3moe")
        writer.add_block_count(48)
        writer.add_embedding_length(2048)
        writer.add_expert_count(128)
        writer.add_token_list([f"t{n}" for n in range(151_936)])
        writer.add_tensor(name, np.zeros((10, number), np.float16))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
    evidence = read_evidence(tmp_path / "m-00001-of-00002.gguf", tmp_path)
    assert evidence.parameters == 30
    assert len(evidence.weights) == 2
    found = recognise(dataclasses.replace(evidence, parameters=30_500_000_000), CARDS)
    assert found.family == "Qwen3"
    assert "Qwen/Qwen3-30B-A3B" in {card.hub_id for card in found.cards}
    assert recognise(evidence, CARDS).by == "unknown"
    assert read_evidence(tmp_path, tmp_path) == evidence
    (tmp_path / "other.gguf").touch()
    with pytest.raises(ValueError, match="holds 2 GGUF models: name one"):
        read_evidence(tmp_path, tmp_path)


@pytest.mark.model
def test_the_packaged_model_and_what_is_made_of_it(
    base: Checkpoint, model_cache: Path, tmp_path: Path
) -> None:
    found = recognise(read_evidence(base.folder, model_cache), CARDS)
    assert found.by == "weights"
    assert [card.hub_id for card in found.cards] == ["HuggingFaceTB/SmolLM2-135M-Instruct"]

    halves = tmp_path / "halves"
    halves.mkdir()
    for name in ("config.json", "tokenizer.json"):
        shutil.copy(base.folder / name, halves)
    weights = load_file(base.folder / "model.safetensors")
    save_file({n: w.bfloat16() for n, w in weights.items()}, halves / "model.safetensors")
    found = recognise(read_evidence(halves, tmp_path), CARDS)
    assert (found.by, found.family, found.parameters) == ("shape", "SmolLM2", 135_000_000)

    tokenizer = json.loads((halves / "tokenizer.json").read_text())
    tokenizer["model"]["vocab"] |= {"Ġthe": 9_999}
    (halves / "tokenizer.json").write_text(json.dumps(tokenizer))
    found = recognise(read_evidence(halves, tmp_path), CARDS)
    assert found.by == "unknown"
    assert "its vocabulary is not" in found.reason
