from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tests.learn.families import make_family

from liveweights.engines.experts import Experts
from liveweights.learn.policy import Policy
from liveweights.learn.routing import UnknownRouter, find_weighing
from liveweights.learn.rows import Row as Taught
from liveweights.learn.settings import LearnSettings
from liveweights.learn.tree import TokenRow
from liveweights.learn.update import update

# Of one length: padding goes where it likes.
ROWS = [
    TokenRow(list(range(1, 30)), [30, 31, 32]),
    TokenRow([*range(1, 20), *range(60, 71)], [40, 41]),
]
HEAT = [1.0, 1.0]
FAMILIES = [
    "mixtral",
    "qwen3_5_moe",
    "deepseek_v3",
    "glm4_moe",
    "minimax_m2",
    "gpt_oss",
    "nemotron_h",
]


@pytest.mark.parametrize("family", FAMILIES)
def test_tokens_keep_the_experts_that_the_incumbent_chose(family: str, tmp_path: Path) -> None:
    policy = Policy(make_family(family, tmp_path), None, LearnSettings(rank=4))
    routing = policy._routing  # pyright: ignore[reportPrivateUsage]
    before_T = torch.cat(policy.score(ROWS, HEAT, 512, keep_routes=True))
    # Replayed on the same weights nothing changes: the weights are those of the scores.
    kept_T = policy.logprobs(ROWS, torch.ones(2))[0]
    assert torch.allclose(kept_T, before_T, atol=1e-5)

    def choices() -> torch.Tensor:
        with routing.recorded() as found:
            policy.logprobs(ROWS, torch.ones(2))
        return torch.stack(found).sort(-1).values

    with torch.no_grad():
        chosen = choices()
        for weight in policy.parameters():
            weight.normal_(std=0.3)
        moved = choices()
    assert not torch.equal(moved, chosen)
    seen: list[torch.Tensor] = []
    experts = [m for n, m in policy.model.named_modules() if n.endswith(".experts")]
    for module in experts:
        module.register_forward_pre_hook(lambda _, args: seen.append(args[1]))
    logprobs_T = policy.logprobs(ROWS, torch.ones(2))[0]
    logprobs_T.sum().backward()
    used = torch.stack(seen[: len(chosen)]).sort(-1).values
    assert torch.equal(used.to(chosen.dtype), chosen)
    assert any(float(p.grad.abs().sum()) > 0 for p in policy.parameters() if p.grad is not None)


def served(row: TokenRow, layers: int, experts: list[int]) -> NDArray[np.int16]:
    """The same experts for each token of the row's answer [T, layers, K]."""
    return np.tile(np.array(experts, np.int16), (len(row.answer_ids), layers, 1))


@pytest.mark.parametrize("family", FAMILIES)
def test_answers_go_through_the_experts_that_served_them(family: str, tmp_path: Path) -> None:
    policy = Policy(make_family(family, tmp_path), None, LearnSettings(rank=4))
    layers = len(policy._routing)  # pyright: ignore[reportPrivateUsage]
    free = policy.score(ROWS, HEAT, 512)
    forced = ROWS[0]
    chosen_TLK = served(forced, layers, [3, 1])
    assert policy.route_as_served(forced, Experts(len(forced.prompt_ids) - 1, chosen_TLK))
    incumbent = policy.score(ROWS, HEAT, 512, keep_routes=True)
    assert not torch.allclose(incumbent[0], free[0], atol=1e-5)
    assert torch.allclose(incumbent[1], free[1], atol=1e-5)
    seen: list[torch.Tensor] = []
    for name, module in policy.model.named_modules():
        if name.endswith(".experts"):
            module.register_forward_pre_hook(lambda _, args: seen.append(args[1]))
    logprobs_T, row_T = policy.logprobs(ROWS, torch.ones(2))
    # The update starts where the incumbent is.
    assert torch.allclose(logprobs_T, torch.cat(incumbent), atol=1e-5)
    used_NLK = torch.stack(seen[:layers], dim=1)
    forced_N = (used_NLK == torch.tensor([3, 1])).all(-1).all(-1)
    assert int(forced_N.sum()) >= len(forced.answer_ids)
    before = logprobs_T[row_T == 0].sum()
    before.backward()  # what is computed again goes the same way
    policy.finish()
    assert torch.allclose(torch.cat(policy.score(ROWS, HEAT, 512)), torch.cat(free), atol=1e-5)


def test_what_rows_share_goes_through_what_served_it(tmp_path: Path) -> None:
    """The next request of a session repeats an answer that was served before."""
    policy = Policy(make_family("mixtral", tmp_path), None, LearnSettings(rank=4))
    assert policy.layout == "trees"
    first = TokenRow([1, 2, 3], [4, 5])
    after = TokenRow([1, 2, 3, 4, 5, 6], [7])
    heat = [1.0, 1.0]
    assert policy.route_as_served(first, Experts(2, served(first, 2, [0, 1])))
    alone = policy.score([first], [1.0], 512, keep_routes=True)[0]
    together = policy.score([first, after], heat, 512, keep_routes=True)[0]
    assert torch.allclose(together, alone, atol=1e-5)
    again_T, row_T = policy.logprobs([first, after], torch.ones(2))
    assert torch.allclose(again_T[row_T == 0], alone, atol=1e-5)


def test_recordings_of_other_models_and_answers_are_left_alone(tmp_path: Path) -> None:
    policy = Policy(make_family("deepseek_v3", tmp_path), None, LearnSettings(rank=4))
    row = ROWS[0]
    first = len(row.prompt_ids) - 1
    good_TLK = served(row, 1, [2, 3])
    assert policy.route_as_served(row, Experts(first, good_TLK))
    for chosen_TLK in (
        served(row, 1, [2, 4]),  # there are four experts
        served(row, 1, [2, 2]),  # nothing was written there
        served(row, 1, [2, 3, 1]),
        served(row, 3, [2, 3]),
        good_TLK[1:],
    ):
        assert not policy.route_as_served(row, Experts(first, chosen_TLK))
    assert not policy.route_as_served(row, Experts(first + 1, good_TLK))
    # vLLM counts all decoder layers; here the first has no router.
    all_TLK = np.concatenate([served(row, 1, [0, 0]), good_TLK], axis=1)
    expected = policy.score(ROWS, HEAT, 512, keep_routes=True)
    policy.finish()
    assert policy.route_as_served(row, Experts(first, all_TLK))
    found = policy.score(ROWS, HEAT, 512, keep_routes=True)
    assert torch.equal(torch.cat(found), torch.cat(expected))


@pytest.mark.parametrize(("routing", "counts"), [("kept", (1, 2)), ("free", (0, 0))])
def test_an_update_counts_what_it_kept(
    routing: Any, counts: tuple[int, int], tmp_path: Path
) -> None:
    settings = LearnSettings(rank=4, routing=routing, nodes=128)
    policy = Policy(make_family("mixtral", tmp_path), None, settings)
    row = ROWS[0]
    fits = Experts(len(row.prompt_ids) - 1, served(row, 2, [3, 1])).to_bytes()
    moved = Experts(0, served(row, 2, [3, 1])).to_bytes()
    rows = [
        Taught(
            *("preference", f"g{n}", "s", "u", list(path.prompt_ids), list(path.answer_ids)),
            weight=1.0,
            behaviour=[],
            temperature=1.0,
            experts=experts,
        )
        for n, (path, experts) in enumerate(
            [
                (ROWS[0], fits),
                (ROWS[1], moved),
                (TokenRow([1, 2], [3]), b"?"),
                (TokenRow([1, 2], [4]), None),
            ]
        )
    ]
    report = update(policy, rows, settings)
    assert report.taught == 4
    assert (report.served_routing, report.unfit_routing) == counts


def test_an_unknown_way_of_weighing_is_refused() -> None:
    scores_NE = torch.randn(5, 4)
    choices_NK = scores_NE.topk(2).indices
    with pytest.raises(UnknownRouter, match=r"learn\.routing"):
        find_weighing(scores_NE, scores_NE.gather(1, choices_NK) ** 2, choices_NK)
