from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from liveweights.learn.head import score_tokens, token_logprobs


@settings(deadline=None)
@given(st.integers(1, 9), st.integers(1, 40))
def test_chunks_change_neither_value_nor_gradient(tokens: int, chunk: int) -> None:
    torch.manual_seed(tokens)
    head = torch.nn.Linear(4, 11, bias=False)
    target_T, heat_T = torch.randint(0, 11, (tokens,)), torch.rand(tokens) + 0.5

    def run(size: int) -> tuple[torch.Tensor, torch.Tensor]:
        torch.manual_seed(0)
        hidden_TD = torch.randn(tokens, 4, requires_grad=True)
        values_T = token_logprobs(hidden_TD, head, target_T, heat_T, chunk=size)
        (values_T * torch.arange(tokens)).sum().backward()
        assert hidden_TD.grad is not None
        return values_T.detach(), hidden_TD.grad

    whole, parts = run(1 << 20), run(chunk)
    assert torch.allclose(whole[0], parts[0], atol=1e-6)
    assert torch.allclose(whole[1], parts[1], atol=1e-5)
    with torch.no_grad():
        hidden_TD = torch.randn(tokens, 4)
        plain_T = (head(hidden_TD) / heat_T[:, None]).log_softmax(-1)[range(tokens), target_T]
        assert torch.allclose(
            token_logprobs(hidden_TD, head, target_T, heat_T, chunk=chunk), plain_T, atol=1e-6
        )


class Head(torch.nn.Linear):
    """Remembers of how many tokens it made the logits at once."""

    most = 0

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        self.most = max(self.most, len(input))
        return super().forward(input)


@settings(deadline=None)
@given(st.integers(1, 9), st.integers(1, 40))
def test_entropies_are_computed_in_chunks_too(tokens: int, chunk: int) -> None:
    torch.manual_seed(tokens)
    head, hidden_TD = Head(4, 11, bias=False), torch.randn(tokens, 4)
    target_T, heat_T = torch.randint(0, 11, (tokens,)), torch.rand(tokens) + 0.5
    scores_T, entropy_T = score_tokens(hidden_TD, head, target_T, heat_T, chunk=chunk)
    assert head.most <= max(1, chunk // 11)
    logits_TV = head(hidden_TD)
    assert torch.allclose(scores_T, token_logprobs(hidden_TD, head, target_T, heat_T), atol=1e-6)
    exact_T = torch.distributions.Categorical(logits=logits_TV).entropy()
    assert torch.allclose(entropy_T, exact_T, atol=1e-5)
    made_T, made_entropy_T = score_tokens(logits_TV, None, target_T, heat_T, chunk=chunk)
    assert torch.allclose(made_T, scores_T, atol=1e-6)
    assert torch.allclose(made_entropy_T, entropy_T, atol=1e-6)
