"""One trainer on one file of feedback, in a process of its own, so that its peak of memory is
its own: ``python bench/_trainers.py NAME FEEDBACK THREADS BATCH MODEL`` prints one line of JSON."""

from __future__ import annotations

import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

import msgspec
import torch

import _feedback
from liveweights.config import Config
from liveweights.learn.policy import Policy
from liveweights.learn.rows import Row
from liveweights.learn.settings import LearnSettings
from liveweights.learn.tree import TokenRow
from liveweights.learn.update import update
from liveweights.learn.updaters.load import compute_dtype
from liveweights.learn.voters import Voter
from liveweights.weights.models import find, load_tokenizer

SETTINGS = LearnSettings()
DTYPE = compute_dtype(SETTINGS)
"""Of everybody's forward and backward passes."""
MICRO = 4
"""Rows that TRL computes at once: a whole step's would need three times our memory."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """``seconds`` are of the update alone: the weights are in memory and the rows are read.

    ``held_back`` are log-probabilities in nats of the tokens that held-back developers wrote,
    row after row; ``before`` is their mean under the base. ``peak_gib`` is the process's largest
    resident size. ``busy``, of our update, is the share of the machine's rate of matrix products,
    measured just before, at which its matrix products were done.
    """

    trainer: str
    seconds: float
    steps: int
    before: float
    held_back: list[list[float]]
    peak_gib: float
    busy: float | None = None

    @property
    def likelihood(self) -> float:
        """Mean of what is held back, in nats per token."""
        return mean(self.held_back)


class Stopwatch:
    """Times the work inside it."""

    def __enter__(self) -> Stopwatch:
        self._began = time.perf_counter()
        return self

    def __exit__(self, *error: Any) -> None:
        self.seconds = time.perf_counter() - self._began
        self.peak_gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def matrix_rate() -> float:
    """Floating-point operations per second of large matrix products here, in the precision of
    the update, the best of five."""
    size = 2048
    a, b = torch.randn(2, size, size, dtype=DTYPE)
    best = float("inf")
    for _ in range(5):
        began = time.perf_counter()
        torch.mm(a, b)
        best = min(best, time.perf_counter() - began)
    return 2 * size**3 / best


def ours(feedback: _feedback.Feedback, batch: int, *, counted: bool = True) -> Outcome:
    """Our update; its operations are counted in another one, where they are."""
    policy = Policy(BASE.folder, None, SETTINGS)
    paths = [TokenRow(_ids(row.prompt), [*_ids(row.answer), END]) for row in feedback.train]
    # A server would have recorded these when it answered.
    behaviour = policy.score(paths, [1.0] * len(paths), SETTINGS.nodes)
    rows = [
        Row(
            role="policy",
            generation=str(number),
            session=row.session,
            voter=Voter("bench", "bench/", row.session, row.session),
            prompt_ids=list(path.prompt_ids),
            answer_ids=list(path.answer_ids),
            weight=0.5 if row.accepted else -0.5,
            behaviour=logprobs_T.tolist(),
            temperature=1.0,
        )
        for number, (row, path, logprobs_T) in enumerate(
            zip(feedback.train, paths, behaviour, strict=True)
        )
    ]
    before, rate = mean(score(policy, feedback)), matrix_rate()
    with Stopwatch() as watch:
        report = update(policy, rows, SETTINGS)
        policy.finish()
    return Outcome(
        trainer="ours",
        seconds=watch.seconds,
        steps=report.steps,
        before=before,
        held_back=score(policy, feedback),
        peak_gib=watch.peak_gib,
        busy=operations(rows) / watch.seconds / rate if counted else None,
    )


def operations(rows: list[Row]) -> int:
    """Of the matrix products of our update: counted in a second one, as counting slows it."""
    from torch.utils.flop_counter import FlopCounterMode

    counter = FlopCounterMode(display=False)
    policy = Policy(BASE.folder, None, SETTINGS)
    with counter:
        update(policy, rows, SETTINGS)
    return counter.get_total_flops()


def kto(feedback: _feedback.Feedback, batch: int) -> Outcome:
    """TRL's trainer for unpaired reactions, with our LoRA, optimizer and step size."""
    from datasets import Dataset
    from trl import KTOConfig, KTOTrainer

    rows = [
        {"prompt": r.prompt, "completion": r.answer, "label": r.accepted} for r in feedback.train
    ]
    with tempfile.TemporaryDirectory() as folder:
        trainer = KTOTrainer(
            model=_model(),
            args=KTOConfig(output_dir=folder, max_length=None, **_arguments(batch)),
            train_dataset=Dataset.from_list(rows),
            processing_class=load_tokenizer(BASE),
            peft_config=_lora(),
        )
        return _train(trainer, "kto", feedback, Path(folder))


def grpo(feedback: _feedback.Feedback, batch: int) -> Outcome:
    """TRL's policy gradient, given the recorded answers in place of generating.

    It takes its baseline from groups, and a reaction comes alone: two neighbours make a group.
    """
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    answers = [(_ids(r.prompt), [*_ids(r.answer), END], r.accepted) for r in feedback.train]
    pairs = len(answers) // 2

    def replay(prompts: list[str], _: Any) -> dict[str, Any]:
        seen: dict[str, int] = {}
        chosen: list[tuple[list[int], list[int], bool]] = []
        for pair in prompts:
            chosen.append(answers[2 * int(pair) + seen.get(pair, 0)])
            seen[pair] = 1
        return {
            "prompt_ids": [prompt for prompt, _, _ in chosen],
            "completion_ids": [answer for _, answer, _ in chosen],
            "logprobs": None,
            "accepted": [accepted for _, _, accepted in chosen],
        }

    def worth(accepted: list[bool], **_: Any) -> list[float]:
        return [1.0 if taken else 0.0 for taken in accepted]

    with tempfile.TemporaryDirectory() as folder:
        trainer = GRPOTrainer(
            model=_model(),
            reward_funcs=worth,
            args=GRPOConfig(
                output_dir=folder,
                num_generations=2,
                shuffle_dataset=False,
                max_completion_length=128,
                **_arguments(batch),
            ),
            train_dataset=Dataset.from_list([{"prompt": str(n)} for n in range(pairs)]),
            processing_class=load_tokenizer(BASE),
            peft_config=_lora(),
            rollout_func=replay,
        )
        return _train(trainer, "grpo", feedback, Path(folder))


def _arguments(batch: int) -> dict[str, Any]:
    """Without activation checkpointing, which costs time."""
    return {
        "per_device_train_batch_size": MICRO,
        "gradient_accumulation_steps": max(1, round(batch / MICRO)),
        "num_train_epochs": SETTINGS.epochs,
        "learning_rate": SETTINGS.learning_rate,
        "lr_scheduler_type": "constant",
        "adam_beta2": 0.99,
        "max_grad_norm": SETTINGS.grad_norm,
        "bf16": DTYPE is torch.bfloat16,
        "use_cpu": True,
        "gradient_checkpointing": False,
        "dataloader_pin_memory": False,
        "disable_tqdm": True,
        "report_to": "none",
        "save_strategy": "no",
        "logging_strategy": "no",
    }


def _model() -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(
        BASE.folder, dtype=DTYPE, attn_implementation="sdpa", trust_remote_code=False
    )


def _lora() -> Any:
    from peft import LoraConfig

    return LoraConfig(
        r=SETTINGS.rank,
        lora_alpha=SETTINGS.alpha,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )


def _train(trainer: Any, name: str, feedback: _feedback.Feedback, folder: Path) -> Outcome:
    with Stopwatch() as watch:
        trainer.train()
    trainer.save_model(str(folder / "adapter"))
    policy = Policy(BASE.folder, folder / "adapter", SETTINGS)
    with policy.base():
        before = mean(score(policy, feedback))
    return Outcome(
        trainer=name,
        seconds=watch.seconds,
        steps=trainer.state.global_step,
        before=before,
        held_back=score(policy, feedback),
        peak_gib=watch.peak_gib,
    )


def score(policy: Policy, feedback: _feedback.Feedback) -> list[list[float]]:
    """Of the tokens that held-back developers wrote, row after row."""
    paths = [TokenRow(_ids(row.prompt), _ids(row.answer)) for row in feedback.held_back]
    scores = policy.score(paths, [1.0] * len(paths), SETTINGS.nodes)
    return [scores_T.tolist() for scores_T in scores]


def mean(scores: list[list[float]]) -> float:
    """Over all tokens."""
    return fmean(value for row in scores for value in row)


def _ids(text: str) -> list[int]:
    return list(TOKENIZER(text, add_special_tokens=False).input_ids)


TRAINERS: dict[str, Callable[[_feedback.Feedback, int], Outcome]] = {
    "ours": ours,
    "growing": partial(ours, counted=False),
    "kto": kto,
    "grpo": grpo,
}

if __name__ == "__main__":
    name, source, threads, batch, model = sys.argv[1:]
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"
    torch.set_num_threads(int(threads))
    BASE = find(model, Config().cache_folder())
    TOKENIZER: Any = load_tokenizer(BASE)
    END = int(TOKENIZER.eos_token_id)
    outcome = TRAINERS[name](_feedback.read(Path(source)), int(batch))
    sys.stdout.write(msgspec.json.encode(outcome).decode() + "\n")
