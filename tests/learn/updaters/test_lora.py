from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
import torch
from safetensors.torch import load_file
from tests.learn.updaters.conformance import UpdaterConformance

from liveweights.learn.policy import Policy
from liveweights.learn.settings import LearnSettings
from liveweights.learn.updaters.lora import Lora

PARTS = [("attention",), ("mlp",), ("experts",), ("attention", "mlp", "experts")]


@pytest.mark.parametrize("adapt", PARTS, ids="+".join, scope="class")
class TestLora(UpdaterConformance):
    @pytest.fixture
    def base(self, moe: Path) -> Path:
        return moe

    @pytest.fixture
    def settings(self, adapt: tuple[str, ...]) -> LearnSettings:
        return LearnSettings(adapt=adapt, rank=4, learning_rate=5e-3, epochs=2, nodes=64)  # type: ignore[arg-type]

    def test_it_adapts_the_part_and_no_other(
        self, base: Path, settings: LearnSettings, adapt: tuple[str, ...]
    ) -> None:
        policy = Policy(base, None, settings)
        names = [n for n, p in policy.model.named_parameters() if p.requires_grad]
        of = {
            "attention": [n for n in names if ".self_attn." in n],
            "experts": [n for n in names if ".experts." in n],
        }
        of["mlp"] = [n for n in names if n not in {*of["attention"], *of["experts"]}]
        assert {part for part, found in of.items() if found} == set(adapt)

    def test_it_is_stored_in_two_bytes_a_weight(
        self, base: Path, settings: LearnSettings, tmp_path: Path
    ) -> None:
        policy = Policy(base, None, settings)
        policy.updater.finish()
        policy.updater.save(tmp_path / "made")
        stored = load_file(tmp_path / "made" / "adapter_model.safetensors")
        assert {weight.dtype for weight in stored.values()} == {torch.float16}
        assert sum(w.numel() for w in stored.values()) == sum(
            p.numel() for p in policy.parameters()
        )


def test_settings_that_are_for_a_new_adapter_are_noted(base_of: Path, tmp_path: Path) -> None:
    made = LearnSettings(adapt=("attention", "mlp", "experts"), rank=4, alpha=8)
    first = Lora(base_of, None, made)
    assert first.notes == ()
    first.save(tmp_path / "made")
    assert Lora(base_of, tmp_path / "made", made).notes == ()
    other = msgspec.structs.replace(made, adapt=("attention",), rank=8, alpha=16)
    goes_on = Lora(base_of, tmp_path / "made", other)
    assert [note.partition("learn.")[2].split()[0] for note in goes_on.notes] == [
        "rank",
        "alpha",
        "adapt",
    ]
    assert "is of rank 4, and goes on so: learn.rank (8)" in goes_on.notes[0]


def test_a_model_without_the_part_is_refused(dense: Path) -> None:
    with pytest.raises(ValueError, match="no weights that are experts"):
        Policy(dense, None, LearnSettings(adapt=("experts",)))


@pytest.fixture(scope="module")
def dense(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.learn.families import make_family

    return make_family("llama", tmp_path_factory.mktemp("dense"))


@pytest.fixture(params=["dense", "moe"])
def base_of(request: pytest.FixtureRequest) -> Path:
    return request.getfixturevalue(request.param)
