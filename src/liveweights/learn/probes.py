"""What a checkpoint answers to public texts: by that it is told whether an engine computes it.

No user's words are among the prompts: a checkpoint's folder outlives its users' rows, and is
copied, signed and published.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from importlib.resources import files

import torch
from torch import Tensor

from liveweights.learn.dialogue import Dialogue
from liveweights.learn.policy import Policy
from liveweights.learn.tree import TokenRow
from liveweights.weights.probes import Precision, Probe, Probes

TOKENS = 16
"""Likely next tokens that a probe names."""
LONGEST = 48
"""Tokens of a prompt, at most: it has to fit any context that a model is served with."""
CHOICE = 2
"""So many times as many prompts are tried as are kept: those where the update moved most."""


@cache
def texts() -> tuple[str, ...]:
    """Code, prose and questions in many languages: made for this, or nobody's (the Universal
    Declaration of Human Rights)."""
    raw = files("liveweights.learn").joinpath("probe_texts.txt").read_text(encoding="utf-8")
    return tuple(text.strip("\n") for text in raw.split("\n%%\n"))


def public_prompts(
    encode: Callable[[str], list[int]], dialogue: Dialogue | None, count: int
) -> list[list[int]]:
    """``count`` prompts (fewer where there are not so many texts), the same for every cycle; every
    second as a message of a chat, where the model has chats."""
    chosen = texts()[:: max(1, len(texts()) // count)][:count]
    prompts = [encode(text)[-LONGEST:] for text in chosen]
    before, after = (encode(dialogue.between), dialogue.closing_ids) if dialogue else ([], ())
    room = LONGEST - len(before) - len(after)
    if dialogue is not None and room > 0:
        prompts[::2] = [[*before, *prompt[-room:], *after] for prompt in prompts[::2]]
    return [prompt for prompt in prompts if prompt]


@torch.no_grad()
def make_probes(
    policy: Policy, prompts: Sequence[list[int]], nodes: int, *, most: int | None = None
) -> Probes:
    """Of ``prompts`` those ``most`` where the checkpoint's next token differs most from its base's
    (Kullback-Leibler), in their order; None: all."""
    ours = _next_tokens(policy, prompts, nodes)
    with policy.base():
        bases = _next_tokens(policy, prompts, nodes)
    return _choose(prompts, ours, bases, policy.dtype, most)


@torch.no_grad()
def make_probes_apart(
    policy: Policy, base: Callable[[], Policy], prompts: Sequence[list[int]], nodes: int, most: int
) -> Probes:
    """The same of whole weights; ``base`` opens those that they are compared with, afterwards."""
    ours, dtype = _next_tokens(policy, prompts, nodes), policy.dtype
    del policy
    return _choose(prompts, ours, _next_tokens(base(), prompts, nodes), dtype, most)


def _choose(
    prompts: Sequence[list[int]],
    ours: Sequence[Tensor],
    bases: Sequence[Tensor],
    dtype: Precision,
    most: int | None,
) -> Probes:
    moved = [float((o.exp() * (o - b)).sum()) for o, b in zip(ours, bases, strict=True)]
    ranked = sorted(range(len(prompts)), key=lambda place: moved[place], reverse=True)
    probes: list[Probe] = []
    for place in sorted(ranked[:most]):
        ours_V, base_V = ours[place], bases[place]
        ids = ours_V.topk(min(TOKENS, len(ours_V))).indices.tolist()
        top = [(id, float(ours_V[id]), float(base_V[id])) for id in ids]
        probes.append(Probe(prompts[place], top))
    return Probes(probes, dtype)


def _next_tokens(policy: Policy, prompts: Sequence[list[int]], nodes: int) -> list[Tensor]:
    """Log-probabilities of the token after each prompt (V,)."""
    logprobs: list[Tensor] = [torch.empty(0)] * len(prompts)
    paths = [TokenRow(prompt, [0]) for prompt in prompts]
    for indices in policy.pack(paths, nodes):
        logits_TV, _, _ = policy.logits([paths[i] for i in indices])
        for index, logits_V in zip(indices, logits_TV, strict=True):
            logprobs[index] = logits_V.log_softmax(-1)
    return logprobs
