from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.learn.world import VOCABULARY, make_base
from tests.serve.api.doubles import make_tokenizer

from liveweights.catalog.template import rendering
from liveweights.learn.dialogue import read_dialogue
from liveweights.learn.policy import Policy
from liveweights.learn.probes import LONGEST, make_probes, public_prompts, texts
from liveweights.learn.settings import LearnSettings


def encode(text: str) -> list[int]:
    return list(make_tokenizer()(text, add_special_tokens=False).input_ids)


def test_prompts_are_texts_of_ours_and_nothing_else() -> None:
    tokenizer = make_tokenizer()
    assert len(texts()) >= 48
    assert len(set(texts())) == len(texts())
    for prompt in public_prompts(encode, None, 24):
        assert 0 < len(prompt) <= LONGEST
        said = tokenizer.decode(prompt).strip("\ufffd")
        assert any(said in text for text in texts())


@pytest.mark.parametrize("count", [2, 4, 24, 48, 60, 1000])
def test_they_are_the_same_every_time_and_as_many_as_wished(count: int) -> None:
    prompts = public_prompts(encode, None, count)
    assert prompts == public_prompts(encode, None, count)
    assert len(prompts) == min(count, len(texts()))


def test_where_the_model_has_chats_every_second_is_one() -> None:
    tokenizer = make_tokenizer()
    with rendering(tokenizer) as render:
        dialogue = read_dialogue(tokenizer, render)
    assert dialogue is not None
    plain, mixed = public_prompts(encode, None, 8), public_prompts(encode, dialogue, 8)
    assert [a == b for a, b in zip(plain, mixed, strict=True)] == [False, True] * 4
    assert all(len(prompt) <= LONGEST for prompt in mixed)
    assert all(tuple(p[-len(dialogue.closing_ids) :]) == dialogue.closing_ids for p in mixed[::2])


def test_those_are_kept_where_the_update_moved_most(tmp_path: Path) -> None:
    policy = Policy(make_base(tmp_path), None, LearnSettings(rank=8))
    prompts = [[n, n + 1] for n in range(1, 13)]
    with torch.no_grad():
        for name, weight in policy.model.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.3)
    every = make_probes(policy, prompts, 64)
    assert [probe.prompt_ids for probe in every.probes] == prompts
    kept = make_probes(policy, prompts, 64, most=4)
    assert len(kept.probes) == 4
    assert all(probe in every.probes for probe in kept.probes)

    def moved(probes: list[list[int]]) -> float:
        with torch.no_grad():
            from liveweights.learn.tree import TokenRow

            paths = [TokenRow(prompt, [0]) for prompt in probes]
            ours = policy.logits(paths)[0].log_softmax(-1)
            with policy.base():
                base = policy.logits(paths)[0].log_softmax(-1)
        return float((ours.exp() * (ours - base)).sum(-1).min())

    rest = [prompt for prompt in prompts if prompt not in [p.prompt_ids for p in kept.probes]]
    least = moved([p.prompt_ids for p in kept.probes])
    assert all(moved([prompt]) <= least + 1e-6 for prompt in rest)
    (one, *_) = kept.probes
    assert len(one.top) == 16 < VOCABULARY
