from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.learn.families import make_config, make_family, write_family

from liveweights.learn.policy import Policy, steps
from liveweights.learn.settings import LearnSettings
from liveweights.learn.tree import TokenRow, pack

SETTINGS = LearnSettings(rank=4)
SHARED = list(range(1, 25))
ROWS = [
    TokenRow(SHARED, [30, 31, 32]),
    TokenRow([*SHARED, 30], [40, 41]),
    TokenRow(SHARED[:10], [7]),
    TokenRow([99, 98], [97, 96]),
]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    families = ["llama", "gpt_oss", "deepseek_v3", "nemotron_h"]
    return {name: make_family(name, tmp_path_factory.mktemp(name)) for name in families}


def gradients(policy: Policy, groups: list[list[TokenRow]]) -> list[torch.Tensor]:
    policy.model.zero_grad()
    for group in groups:
        policy.logprobs(group, torch.ones(len(group)))[0].sum().backward()
    return [p.grad.clone() for p in policy.parameters() if p.grad is not None]


@pytest.mark.parametrize(
    ("family", "layout"),
    [("llama", "trees"), ("gpt_oss", "tree"), ("deepseek_v3", "trees"), ("nemotron_h", "rows")],
)
def test_packed_gradients_are_those_of_the_rows_one_by_one(
    folders: dict[str, Path], family: str, layout: str
) -> None:
    """Sliding windows, experts, latent attention; recurrent layers, which forbid the tree. To
    1e-4 of the largest gradient."""
    policy = Policy(folders[family], None, SETTINGS)
    assert policy.layout == layout
    with torch.no_grad():
        for weight in policy.parameters():
            weight.normal_(std=0.1)
    together, alone = gradients(policy, [ROWS]), gradients(policy, [[row] for row in ROWS])
    assert together
    largest = max(float(g.abs().max()) for g in alone)
    for one, other in zip(together, alone, strict=True):
        assert float((one - other).abs().max()) < 1e-4 * largest


@pytest.mark.parametrize("name", ["llama4", "gpt_neo"])
def test_layers_with_windows_or_chunks_of_their_own_get_rows(name: str, tmp_path: Path) -> None:
    """The comparison at the start is of fewer tokens than these."""
    policy = Policy(write_family(make_config(name), tmp_path), None, SETTINGS)
    assert policy.layout == "rows"
    start = list(range(1, 40))
    rows = [TokenRow(start, list(range(n, n + 40))) for n in (50, 90, 130)]
    together = policy.score(rows, [1.0] * 3, 4096)
    for row, score_T in zip(rows, together, strict=True):
        assert torch.allclose(score_T, policy.score([row], [1.0], 4096)[0], atol=1e-4)


def test_what_a_family_does_not_take_is_told_and_another_way_is_chosen(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    logprobs = Policy.logprobs

    def refusing(self: Policy, paths: Sequence[TokenRow], heat_B: torch.Tensor) -> Any:
        if self.layout != "rows":
            raise TypeError("no such mask")
        return logprobs(self, paths, heat_B)

    monkeypatch.setattr(Policy, "logprobs", refusing)
    with caplog.at_level(logging.INFO):
        policy = Policy(folders["llama"], None, SETTINGS)
    assert policy.way == "rows, only the logits that are read"
    assert "trees, all logits are not computed: TypeError: no such mask" in caplog.text


def test_running_out_of_memory_is_no_property_of_a_family(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    logprobs = Policy.logprobs

    def full(self: Policy, paths: Sequence[TokenRow], heat_B: torch.Tensor) -> Any:
        if self.layout != "rows":
            raise torch.OutOfMemoryError("2 GiB more were wanted")
        return logprobs(self, paths, heat_B)

    monkeypatch.setattr(Policy, "logprobs", full)
    with pytest.raises(torch.OutOfMemoryError, match="2 GiB"):
        Policy(folders["llama"], None, SETTINGS)


def test_checkpointed_activations_give_the_same_gradients_from_less_memory(
    folders: dict[str, Path],
) -> None:
    plain = Policy(folders["deepseek_v3"], None, SETTINGS)
    tight = Policy(folders["deepseek_v3"], None, LearnSettings(rank=4, memory_gib=1e-6))
    for policy in (plain, tight):
        policy.score(ROWS, [1.0] * len(ROWS), 512, keep_routes=True)
    for one, other in zip(gradients(plain, [ROWS]), gradients(tight, [ROWS]), strict=True):
        assert torch.allclose(one, other, atol=1e-5)
    assert held(tight) < held(plain) / 2


def test_a_pass_that_is_longer_than_foreseen_keeps_no_activations(
    folders: dict[str, Path],
) -> None:
    plain = Policy(folders["llama"], None, SETTINGS)
    # Enough for passes of two tokens.
    room = 3 * held(plain) / sum(len(r.prompt_ids) + len(r.answer_ids) for r in ROWS) / 2**30
    tight = Policy(folders["llama"], None, LearnSettings(rank=4, nodes=2, memory_gib=room))
    assert held(tight) < held(plain) / 2


def held(policy: Policy) -> int:
    """Bytes that a pass over the rows keeps for its backward pass."""
    kept = 0

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        nonlocal kept
        kept += tensor.numel() * tensor.element_size()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        policy.logprobs(ROWS, torch.ones(len(ROWS)))
    return kept


def test_half_precision_is_near(folders: dict[str, Path]) -> None:
    exact = Policy(folders["llama"], None, SETTINGS)
    rough = Policy(folders["llama"], None, LearnSettings(rank=4, dtype="bfloat16"))
    assert {p.dtype for p in rough.parameters()} == {torch.float32}
    one_T = torch.cat(exact.score(ROWS, [1.0] * len(ROWS), 512))
    other_T = torch.cat(rough.score(ROWS, [1.0] * len(ROWS), 512))
    assert other_T.dtype == torch.float32
    assert 0.0 < float((one_T - other_T).abs().mean()) < 0.1


@given(st.lists(st.integers(1, 40), min_size=1, max_size=30), st.integers(1, 12), st.integers(0, 9))
def test_steps_have_every_row_once_and_enough_rows(
    lengths: list[int], fewest: int, seed: int
) -> None:
    rows = [TokenRow([number] * length, [1]) for number, length in enumerate(lengths)]
    found = list(steps(pack(rows, 64), fewest, torch.Generator().manual_seed(seed)))
    counts = [sum(map(len, step)) for step in found]
    assert sorted(row for step in found for group in step for row in group) == [*range(len(rows))]
    assert min(counts) >= min(fewest, len(rows))
    for step, count in zip(found, counts, strict=True):
        last = len(step[-1])
        assert step is found[-1] or count - last < fewest
