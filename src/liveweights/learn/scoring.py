"""Held-back rows under the incumbent and under a candidate that was not learnt from them here."""

from __future__ import annotations

import time
from pathlib import Path

from liveweights.learn.continuations import continue_text
from liveweights.learn.dialogue import add_follow_ups
from liveweights.learn.evidence import (
    Scores,
    ask_weights,
    compare,
    find_broken,
    make_questions,
    measure_divergence,
    most_moved,
)
from liveweights.learn.job import PROGRESS, RESULT, Job, Report, Result, Weights
from liveweights.learn.learner import write_file
from liveweights.learn.passages import read_in_tokens
from liveweights.learn.progress import Tracker, Work
from liveweights.learn.threads import Threads
from liveweights.weights.context import read_context
from liveweights.weights.models import read_tokenizer


def score(job: Job, candidate: Weights, folder: Path) -> Result:
    """Score the held-back rows and write the result to ``folder``; no weights are made.

    Raises OSError or ValueError where a folder holds no loadable weights.
    """
    began = time.monotonic()
    threads = Threads(job.settings.threads)
    tokenizer = read_tokenizer(Path(job.base))
    dialogue, (examples,) = read_in_tokens(tokenizer, job.template, job.held_back)
    encode = continue_text(tokenizer)
    examples = add_follow_ups(examples, job.follow_ups, dialogue, tokenizer.decode)
    questions = make_questions(examples, job.rewards, encode, read_context(Path(job.base)))
    threads.settle()
    tracker = Tracker(
        Work(len(questions), 0, 0), lambda progress: write_file(folder / PROGRESS, progress)
    )
    incumbent = Weights(base=job.base, adapter=job.parent)

    def ask(weights: Weights) -> Scores:
        return ask_weights(weights, questions, job.settings, tracker.passed)

    tracker.begin("scoring", len(questions))
    before = ask(incumbent)
    tracker.begin("measuring", len(questions))
    after = ask(candidate)
    scores = zip(questions, before.questions, after.questions, strict=True)
    held = [compare(question, then, now) for question, then, now in scores]
    broken = find_broken(held)
    held = [] if broken else held
    report = Report(
        signals={},
        divergence=measure_divergence(after.questions, before.questions),
        watched=len(questions),
        entropy_before=before.entropy,
        entropy=after.entropy,
        moved=most_moved(held),
        seconds=time.monotonic() - began,
    )
    result = Result(
        report=report, held_back=held, broken=broken, baseline_weight={}, baseline_total={}
    )
    write_file(folder / RESULT, result)
    return result
