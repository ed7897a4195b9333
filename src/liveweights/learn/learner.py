"""One update, from a job to its result: weights, probes, and held-back rows before and after."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import msgspec

from liveweights.learn import sharing
from liveweights.learn.baseline import Baseline
from liveweights.learn.continuations import continue_text
from liveweights.learn.dialogue import add_follow_ups, read_opening
from liveweights.learn.evidence import (
    Question,
    Scores,
    ask_weights,
    compare,
    find_broken,
    make_questions,
    measure_divergence,
    most_moved,
    score_questions,
)
from liveweights.learn.job import (
    PROGRESS,
    RESULT,
    RESUME,
    WEIGHTS,
    HeldBack,
    Job,
    Report,
    Result,
    Step,
    spread,
)
from liveweights.learn.passages import read_in_tokens
from liveweights.learn.policy import Policy
from liveweights.learn.probes import CHOICE, make_probes, public_prompts
from liveweights.learn.progress import Tracker, Work
from liveweights.learn.reference import PART
from liveweights.learn.resume import Resume
from liveweights.learn.rows import build_rows
from liveweights.learn.settings import LearnSettings
from liveweights.learn.threads import Threads
from liveweights.learn.trust import Line, find_scale, is_near
from liveweights.learn.update import update
from liveweights.learn.voters import describe
from liveweights.weights.checkpoint import Kind
from liveweights.weights.context import read_context
from liveweights.weights.models import read_tokenizer
from liveweights.weights.probes import FILE as PROBES

WATCHED = 96
"""Rows that a shorter step is looked for on, before all are scored; and those of an update's own
where none was held back."""
_ROUNDS = 4


@dataclass(frozen=True, slots=True)
class _Kept:
    """The policy's scores where the update was left, the part of it that was kept, and the
    divergence there; None where nothing could be measured."""

    scores: Scores
    scale: float
    divergence: float | None


def learn(job: Job, folder: Path) -> Result:
    """Update, score the held-back rows, and write weights, probes and result to ``folder``."""
    began = time.monotonic()
    settings = job.settings
    threads = Threads(settings.threads)
    tokenizer = read_tokenizer(Path(job.base))
    dialogue, (train, held_back) = read_in_tokens(tokenizer, job.template, job.train, job.held_back)
    job = msgspec.structs.replace(job, train=train, held_back=held_back)
    encode = continue_text(tokenizer)

    def encode_template(text: str) -> list[int]:
        return list(tokenizer(text, add_special_tokens=False).input_ids)

    context = read_context(Path(job.base))
    built = build_rows(
        add_follow_ups(job.train, job.follow_ups, dialogue, tokenizer.decode),
        Baseline(job.baseline_weight, job.baseline_total),
        job.rewards,
        settings,
        encode=encode,
        incumbent=job.incumbent,
        dialogue=dialogue,
        opening=read_opening(tokenizer),
        earlier=job.earlier,
        held_back=job.held_back,
        context=context,
    )
    outliers = {describe(group): distance for group, distance in built.outliers.items()}
    report = Report(
        signals=built.counts,
        masks=built.masks,
        outliers=outliers,
        rows=len(built.rows),
        mean_reward=built.mean_reward,
        conduct=built.conduct,
    )
    held: list[HeldBack] = []
    broken = ""
    kind: Kind = "adapter"
    threads.settle()
    if any(row.weight != 0.0 for row in built.rows):
        out = frozenset(built.left_out)
        judges = [example for example in job.held_back if example.generation.id not in out]
        judges = spread(judges, settings.max_scored)
        examples = add_follow_ups(judges, job.follow_ups, dialogue, tokenizer.decode)
        questions = make_questions(examples, job.rewards, encode, context)
        # Before the policy is made: of two models in memory one is enough.
        rival = ask_weights(job.rival, questions, settings).questions if job.rival else None
        policy = Policy(
            Path(job.base),
            Path(job.parent) if job.parent else None,
            settings,
            Path(job.ways) if job.ways else None,
        )
        watched = questions or make_questions(
            spread(job.train, WATCHED), job.rewards, encode, context
        )
        work = Work(len(watched), len(built.rows) // PART, settings.epochs * len(built.rows))
        tracker = Tracker(work, lambda progress: write_file(folder / PROGRESS, progress))
        policy.passed = tracker.passed
        tracker.begin("scoring", len(watched))
        before = score_questions(policy, watched, settings.nodes)
        line = Line(policy.parameters())

        def tell(step: Step) -> None:
            tracker.stepped(step)
            threads.settle()

        # Processes that share an update hold a part of it each, and begin anew together.
        origin = f"{job.base} {job.parent or ''}"
        resume = Resume(folder / RESUME, origin) if sharing.processes() == 1 else None
        tracker.begin("comparing")
        made = update(policy, built.rows, settings, tell, resume)
        tracker.begin("measuring", len(watched))
        line.end()
        policy.finish()
        kept = _keep_near(policy, line, watched, before=before, settings=settings)
        if questions:
            then = rival or before.questions
            scores = zip(questions, then, kept.scores.questions, strict=True)
            held = [compare(question, was, now) for question, was, now in scores]
        broken = find_broken(held)
        held = [] if broken else held
        report = msgspec.structs.replace(
            made,
            signals=built.counts,
            masks=built.masks | made.masks,
            outliers=outliers,
            mean_reward=built.mean_reward,
            conduct=built.conduct,
            divergence=kept.divergence,
            watched=len(watched),
            scale=kept.scale,
            entropy_before=before.entropy if questions else None,
            entropy=kept.scores.entropy if questions else None,
            moved=most_moved(held),
            notes=list(policy.updater.notes),
        )
        kind = policy.updater.kind
        policy.save(folder / WEIGHTS)
        prompts = public_prompts(encode_template, dialogue, CHOICE * settings.probes)
        probes = make_probes(policy, prompts, settings.nodes, most=settings.probes)
        write_file(folder / WEIGHTS / PROBES, probes)
    report = msgspec.structs.replace(report, seconds=time.monotonic() - began)
    result = Result(
        report=report,
        kind=kind,
        held_back=held,
        left_out=built.left_out,
        broken=broken,
        baseline_weight=dict(built.baseline.weight),
        baseline_total=dict(built.baseline.total),
    )
    write_file(folder / RESULT, result)
    (folder / RESUME).unlink(missing_ok=True)
    return result


def _keep_near(
    policy: Policy,
    line: Line,
    questions: Sequence[Question],
    *,
    before: Scores,
    settings: LearnSettings,
) -> _Kept:
    """Shorten the update until its divergence on all ``questions`` is what `trust` allows.

    How far is found on a part of them, and again where all say otherwise; if nothing helps, the
    policy is the incumbent again. What is measured is always what would be stored.
    """
    target, scale = settings.kl_target, 1.0
    sample = spread(range(len(questions)), WATCHED)

    def score(part: Sequence[int]) -> tuple[Scores, float | None]:
        scores = score_questions(policy, [questions[place] for place in part], settings.nodes)
        return scores, measure_divergence(
            scores.questions, [before.questions[place] for place in part]
        )

    def score_at(scale: float, part: Sequence[int]) -> tuple[Scores, float | None]:
        line.go(scale)
        policy.updater.finish()
        return score(part)

    def of_part(longest: float, share: float) -> float:
        return score_at(share * longest, sample)[1] or 0.0

    scores, divergence = score(range(len(questions)))
    for _ in range(_ROUNDS):
        if divergence is None or is_near(divergence, target):
            break
        longest = scale
        whole = score(sample)[1] if len(sample) < len(questions) else divergence
        # What the part measures stands for all: its target is as much above or below.
        part = target * (whole or divergence) / divergence if math.isfinite(divergence) else target
        scale = longest * find_scale(partial(of_part, longest), whole or divergence, part).scale
        scores, divergence = score_at(scale, range(len(questions)))
    if divergence is not None and not is_near(divergence, target):
        scale = 0.0
        scores, divergence = score_at(scale, range(len(questions)))
    return _Kept(scores, scale, divergence)


def write_file(path: Path, value: object) -> None:
    """Write a value as JSON, whole or not at all; of processes that share an update one does."""
    if sharing.rank() != 0:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_bytes(msgspec.json.encode(value))
    os.replace(partial, path)
