"""The learner's process: ``python -m liveweights.learn.learner JOB RESULT``.

Everything it needs is in the job's file and everything it made is in the result's folder, so it
may be killed at any moment and started again: the result's ``result.json`` is written last.
"""

from __future__ import annotations

import hashlib
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import msgspec
import torch

from liveweights.catalog.template import TemplateSettings, rendering
from liveweights.learn import sharing
from liveweights.learn.baseline import Baseline
from liveweights.learn.dialogue import add_follow_ups, read_dialogue
from liveweights.learn.evidence import HeldBack, most_moved, score_with_entropy
from liveweights.learn.passages import with_prompt_ids
from liveweights.learn.policy import Policy
from liveweights.learn.probes import CHOICE, make_probes, public_prompts
from liveweights.learn.rewards import RewardMap, reward
from liveweights.learn.rows import Encode, build_rows, written_ids
from liveweights.learn.scale import learn_on_ray
from liveweights.learn.selection import Shown, confidence, first_selection, fit_selection
from liveweights.learn.settings import LearnSettings
from liveweights.learn.threads import Threads
from liveweights.learn.tree import Path as TreePath
from liveweights.learn.truth import truth
from liveweights.learn.update import Report, Step, update
from liveweights.learn.voters import describe
from liveweights.machine import end_with_parent, give_way
from liveweights.record.example import Example
from liveweights.record.generation import Generation
from liveweights.weights.checkpoint import Kind
from liveweights.weights.probes import FILE as PROBES
from liveweights.weights.selection import Selection, write_selection

RESULT = "result.json"
PROGRESS = "progress.json"
WEIGHTS = "weights"
ENTROPY_ROWS = 64
"""Held-back answers that the entropy is measured on."""


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What to learn from and from where.

    ``base`` is a folder of whole weights: the incumbent's own, or those that its adapter, which
    is in ``parent`` then, is on.
    """

    base: str
    parent: str | None
    incumbent: str
    train: list[Example]
    held_back: list[Example]
    follow_ups: dict[str, list[int]] = {}
    """Of chat answers, by generation: the prompt of the session's next request."""
    earlier: dict[str, int] = {}
    """Votes of earlier cycles, by user (`voters.name_of`)."""
    baseline_weight: dict[str, float]
    baseline_total: dict[str, float]
    selection: Selection | None = None
    """The incumbent's."""
    rewards: RewardMap
    settings: LearnSettings
    template: TemplateSettings = TemplateSettings()
    ways: str = ""
    """Folder of the ways of computing that were found before; see `ways`."""


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What a job came to; without ``taught`` rows there are no weights of that ``kind``.

    ``left_out`` are the generations, held back or not, whose votes stood apart from all others'.
    """

    report: Report
    kind: Kind = "adapter"
    held_back: list[HeldBack]
    left_out: list[str] = []
    baseline_weight: dict[str, float]
    baseline_total: dict[str, float]


def learn(job: Job, folder: Path) -> Result:
    """Update, score the held-back rows, and write weights, probes and result to ``folder``."""
    from transformers import AutoTokenizer

    began = time.monotonic()
    settings = job.settings
    threads = Threads(settings.threads)
    tokenizer = AutoTokenizer.from_pretrained(
        job.base, local_files_only=True, trust_remote_code=False
    )
    with rendering(tokenizer, job.template) as render:
        dialogue = read_dialogue(tokenizer, render)
        job = msgspec.structs.replace(
            job,
            train=[with_prompt_ids(example, tokenizer, render) for example in job.train],
            held_back=[with_prompt_ids(example, tokenizer, render) for example in job.held_back],
        )

    def encode(text: str) -> list[int]:
        # What a user wrote is text, also where it looks like a special token.
        ids = tokenizer(text, add_special_tokens=False, split_special_tokens=True).input_ids
        return list(ids)

    def encode_template(text: str) -> list[int]:
        return list(tokenizer(text, add_special_tokens=False).input_ids)

    built = build_rows(
        add_follow_ups(job.train, job.follow_ups, dialogue, tokenizer.decode),
        Baseline(job.baseline_weight, job.baseline_total),
        job.rewards,
        settings,
        encode,
        incumbent=job.incumbent,
        dialogue=dialogue,
        earlier=job.earlier,
        held_back=job.held_back,
    )
    outliers = {describe(group): distance for group, distance in built.outliers.items()}
    report = Report(
        signals=built.counts,
        masks=built.masks,
        outliers=outliers,
        rows=len(built.rows),
        mean_reward=built.mean_reward,
    )
    held: list[HeldBack] = []
    kind: Kind = "adapter"
    threads.settle()
    if any(row.weight != 0.0 for row in built.rows):
        policy = Policy(
            Path(job.base),
            Path(job.parent) if job.parent else None,
            settings,
            Path(job.ways) if job.ways else None,
        )
        out = frozenset(built.left_out)
        judges = [example for example in job.held_back if example.generation.id not in out]
        known = add_follow_ups(judges, job.follow_ups, dialogue, tokenizer.decode)
        questions = _questions(known, job.rewards, encode)
        before, entropy_before = _score(policy, questions, settings)

        def tell(step: Step) -> None:
            _write(folder / PROGRESS, step)
            threads.settle()

        made = update(policy, built.rows, settings, tell)
        after, entropy = _score(policy, questions, settings)
        selection = _select(job.selection, built.shown, job.rewards, settings)
        held = [
            _held(q, a, b, selection, job.selection)
            for q, a, b in zip(questions, after, before, strict=True)
        ]
        report = msgspec.structs.replace(
            made,
            signals=built.counts,
            masks=built.masks | made.masks,
            outliers=outliers,
            mean_reward=built.mean_reward,
            entropy_before=entropy_before,
            entropy=entropy,
            moved=most_moved(held),
            selection=selection,
            withheld=_withheld(selection, built.shown),
        )
        kind = policy.updater.kind
        policy.save(folder / WEIGHTS)
        if selection is not None and sharing.rank() == 0:
            write_selection(folder / WEIGHTS, selection)
        prompts = public_prompts(encode_template, dialogue, CHOICE * settings.probes)
        probes = make_probes(policy, prompts, settings.nodes, most=settings.probes)
        _write(folder / WEIGHTS / PROBES, probes)
    report = msgspec.structs.replace(report, seconds=time.monotonic() - began)
    result = Result(
        report=report,
        kind=kind,
        held_back=held,
        left_out=built.left_out,
        baseline_weight=dict(built.baseline.weight),
        baseline_total=dict(built.baseline.total),
    )
    _write(folder / RESULT, result)
    return result


def hash_cluster(generation: Generation) -> str:
    """What the row varies with, without its name: results are kept longer than users' rows."""
    name = f"{generation.tenant}\0{generation.cluster}"
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:16]


class _Question(msgspec.Struct, frozen=True):
    example: Example
    reward: float | None
    truth: str | None
    truth_ids: list[int]


def _questions(examples: Sequence[Example], rewards: RewardMap, encode: Encode) -> list[_Question]:
    found: list[_Question] = []
    for example in examples:
        generation = example.generation
        # Of an answer that is known as text, this model's tokens of it: to compare two checkpoints.
        answer_ids = generation.output_ids or encode(generation.healed + generation.output)
        if not generation.prompt_ids or not answer_ids:
            continue
        if not generation.output_ids:
            generation = replace(generation, output_ids=answer_ids)
            example = replace(example, generation=generation)
        worth = None
        if not generation.withheld:  # nobody knows what it would have earned
            worth = reward(
                generation.output, example.feedback, rewards, served=generation.created_at
            )
        wanted = truth(generation.output, example.feedback)
        ids: list[int] = written_ids(generation, wanted, encode) if wanted else []
        found.append(_Question(example, worth.value if worth else None, wanted, ids))
    return found


def _score(
    policy: Policy, questions: Sequence[_Question], settings: LearnSettings
) -> tuple[list[tuple[list[float], float | None]], float | None]:
    """Each answer's log-probabilities and the mean one of the truth, and the mean entropy of the
    next token over the first answers, in nats."""
    paths: list[TreePath] = []
    heat: list[float] = []
    is_answer: list[bool] = []
    for question in questions:
        generation = question.example.generation
        paths.append(TreePath(generation.prompt_ids, generation.output_ids))
        heat.append(generation.temperature or 1.0)
        is_answer.append(True)
        if question.truth_ids:
            paths.append(TreePath(generation.prompt_ids, question.truth_ids))
            heat.append(1.0)
            is_answer.append(False)
    first = sum(1 + bool(question.truth_ids) for question in questions[:ENTROPY_ROWS])
    known, entropies = score_with_entropy(policy, paths[:first], heat[:first], settings.nodes)
    scores = iter([*known, *policy.score(paths[first:], heat[first:], settings.nodes)])
    spread = [e for e, wanted in zip(entropies, is_answer, strict=False) if wanted]
    found = [
        (next(scores).tolist(), float(next(scores).mean()) if question.truth_ids else None)
        for question in questions
    ]
    return found, float(torch.cat(spread).mean()) if spread else None


def _select(
    before: Selection | None,
    shown: Sequence[Shown],
    rewards: RewardMap,
    settings: LearnSettings,
) -> Selection | None:
    """The candidate's selection; None where everything is shown, and nothing says otherwise."""
    good, bad = rewards.accepted - rewards.silence, rewards.silence - rewards.rejected
    if not settings.silence_weight or not shown or good <= 0 or bad <= 0:
        return before
    return fit_selection(
        before,
        first_selection(good, settings.silence_weight * bad),
        shown,
        keep=settings.selection_keep,
        most_withheld=settings.max_withheld,
    )


def _withheld(selection: Selection | None, shown: Sequence[Shown]) -> float | None:
    if selection is None or not shown:
        return None
    return sum(not selection.shows(one.confidence) for one in shown) / len(shown)


def _held(
    question: _Question,
    after: tuple[list[float], float | None],
    before: tuple[list[float], float | None],
    candidate: Selection | None,
    incumbent: Selection | None,
) -> HeldBack:
    generation = question.example.generation

    def shown(selection: Selection | None) -> float:
        if generation.selection is None or selection is None:
            return 0.0
        sure = confidence(generation.raw_logprobs, selection.tokens)
        return selection.logprob(sure, generation.temperature, shown=True)

    return HeldBack(
        generation=generation.id,
        session=hash_cluster(generation),
        reward=question.reward,
        candidate_answer=after[0],
        incumbent_answer=before[0],
        behaviour=generation.logprobs if generation.temperature > 0 else generation.raw_logprobs,
        candidate_truth=after[1],
        incumbent_truth=before[1],
        candidate_shown=shown(candidate),
        incumbent_shown=shown(incumbent),
        shown=generation.selection or 0.0,
    )


def _write(path: Path, value: object) -> None:
    if sharing.rank() != 0:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_bytes(msgspec.json.encode(value))
    os.replace(partial, path)


def read_job(file: Path) -> Job:
    return msgspec.json.decode(file.read_bytes(), type=Job)


def main(arguments: Sequence[str]) -> int:
    job_file, folder = Path(arguments[0]), Path(arguments[1])
    end_with_parent()
    give_way()  # answering users goes first
    job = read_job(job_file)
    if job.settings.workers > 1:
        learn_on_ray(job_file, folder, job.settings.workers)
    else:
        learn(job, folder)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
