"""A world small enough to learn in seconds: contexts with one right word each, users who vote.

The learner's own path is used throughout: examples, rewards, baseline, guards, rows, update.
Answers are sampled by the policy and recorded with its log-probabilities.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from liveweights.learn.baseline import Baseline
from liveweights.learn.job import Report
from liveweights.learn.policy import Policy
from liveweights.learn.rewards import RewardMap
from liveweights.learn.rows import Rows, build_rows
from liveweights.learn.settings import LearnSettings
from liveweights.learn.tree import TokenRow
from liveweights.learn.update import update
from liveweights.record.example import Example
from liveweights.record.feedback import Feedback, Signal
from liveweights.record.generation import Generation

VOCABULARY, SILENCE, CONTEXTS = 48, 0, 12
REWARDS = RewardMap()
_numbers = itertools.count()


def make_base(folder: Path) -> Path:
    """A random Llama whose logits are large enough to become certain."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config: Any = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=32,
        initializer_range=0.3,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


class World:
    """A policy that is taught in place, cycle by cycle, by those who use it."""

    def __init__(self, base: Path, settings: LearnSettings, seed: int = 0) -> None:
        self.settings = settings
        self.policy = Policy(base, None, settings)
        self.baseline = Baseline.empty()
        self.earlier: Counter[str] = Counter()
        self.draw = torch.Generator().manual_seed(seed)
        self.prompts = [[CONTEXTS + c, 1 + c] for c in range(CONTEXTS)]
        # The right word is one of the base's likeliest, so that it is found by trying.
        ranked = self.probabilities().argsort(dim=1, descending=True)
        self.right = [
            next(int(w) for w in ranked[c, 1 + c % 2 :] if int(w) != SILENCE)
            for c in range(CONTEXTS)
        ]

    @torch.no_grad()
    def probabilities(self) -> torch.Tensor:
        """Of every word in every context -> (contexts, words)."""
        paths = [TokenRow(prompt, [SILENCE]) for prompt in self.prompts]
        return self.policy.logits(paths)[0].softmax(-1)

    def reward(self) -> float:
        """What an honest user gets on average."""
        chances = self.probabilities()
        right = chances[range(CONTEXTS), self.right]
        silence = chances[:, SILENCE]
        worth = (
            REWARDS.accepted * right
            + REWARDS.silence * silence
            + REWARDS.rejected * (1 - right - silence)
        )
        return float(worth.mean())

    def entropy(self) -> float:
        chances = self.probabilities()
        return float(-(chances * chances.log()).sum(-1).mean())

    def silence(self) -> float:
        return float(self.probabilities()[:, SILENCE].mean())

    def ask(self, user: str | None, count: int, *, honest: bool = True) -> list[Example]:
        """Answers to random contexts with the user's vote; who is not honest votes against it."""
        chances = self.probabilities()
        contexts = torch.randint(CONTEXTS, (count,), generator=self.draw).tolist()
        found: list[Example] = []
        for context in contexts:
            word = int(torch.multinomial(chances[context], 1, generator=self.draw))
            agrees = (word == self.right[context]) == honest
            vote: Signal | None = None if word == SILENCE else "accepted" if agrees else "rejected"
            found.append(
                self._example(user, context, word, float(chances[context, word].log()), vote)
            )
        return found

    def turn(self, examples: Sequence[Example]) -> tuple[Rows, Report]:
        """One cycle."""
        rows = build_rows(
            examples,
            self.baseline,
            REWARDS,
            self.settings,
            encode=lambda text: [int(text)],
            earlier=self.earlier,
        )
        self.baseline = rows.baseline
        left_out = set(rows.left_out)
        self.earlier.update(
            f"default/{e.generation.user}" for e in examples if e.generation.id not in left_out
        )
        report = update(self.policy, rows.rows, self.settings)
        self.policy.finish()
        return rows, report

    def _example(
        self, user: str | None, context: int, word: int, logprob: float, vote: Signal | None
    ) -> Example:
        id, now = f"g{next(_numbers)}", datetime.now(UTC)
        generation = Generation(
            id=id,
            created_at=now,
            alias="toy",
            checkpoint="toy@0",
            endpoint="completion",
            prompt_ids=self.prompts[context],
            output_ids=[word],
            logprobs=[logprob],
            raw_logprobs=[logprob],
            output="" if word == SILENCE else str(word),
            finish_reason="stop",
            temperature=1.0,
            top_p=1.0,
            user=user,
        )
        feedback = (Feedback(id=id, generation=id, signal=vote, received_at=now),) if vote else ()
        return Example(generation, feedback)
