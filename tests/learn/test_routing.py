from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.learn.families import make_family

from liveweights.learn.policy import Policy
from liveweights.learn.routing import UnknownRouter, find_weighing
from liveweights.learn.settings import LearnSettings
from liveweights.learn.tree import Path as Row

# Of one length: padding goes where it likes.
ROWS = [Row(list(range(1, 30)), [30, 31, 32]), Row([*range(1, 20), *range(60, 71)], [40, 41])]
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
    replayed_T = policy.logprobs(ROWS, torch.ones(2))[0]
    assert torch.allclose(replayed_T, before_T, atol=1e-5)

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


def test_an_unknown_way_of_weighing_is_refused() -> None:
    scores_NE = torch.randn(5, 4)
    choices_NK = scores_NE.topk(2).indices
    with pytest.raises(UnknownRouter, match=r"learn\.routing"):
        find_weighing(scores_NE, scores_NE.gather(1, choices_NK) ** 2, choices_NK)
