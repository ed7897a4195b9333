"""What an update does to rows that it never saw: asked before it, and again after it."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path

import msgspec
import torch
from torch import Tensor

from liveweights.learn.drift import measure_drift
from liveweights.learn.job import HeldBack, Moved, Weights
from liveweights.learn.policy import Policy
from liveweights.learn.rewards import RewardMap, reward
from liveweights.learn.rows import Encode, answer_place, behind, written_ids
from liveweights.learn.sampled import find_behaviour, find_temperature
from liveweights.learn.settings import LearnSettings
from liveweights.learn.tree import TokenRow
from liveweights.learn.truth import read_wish
from liveweights.record.example import Example
from liveweights.record.generation import Generation
from liveweights.weights.selection import TOKENS

EXAMPLES = 12
ENTROPY_ROWS = 64
"""Held-back answers that the entropy is measured on."""


@dataclass(frozen=True, slots=True)
class Question:
    """A recorded answer, what it earned, and what the user would have wanted (as token ids), after
    the ids of ``place``."""

    generation: Generation
    reward: float | None
    truth_ids: list[int]
    place: list[int]

    @property
    def temperature(self) -> float:
        return find_temperature(self.generation)


@dataclass(frozen=True, slots=True)
class Scored:
    """Log-probabilities of a question's answer at its temperature, their sum at temperature 1 over
    as many tokens as a selection reads, and the mean one of the truth."""

    answer: list[float]
    confidence: float
    truth: float | None


@dataclass(frozen=True, slots=True)
class Scores:
    """Of every question, and the mean entropy of the next token over the first answers, in nats."""

    questions: list[Scored]
    entropy: float | None


def make_questions(
    examples: Sequence[Example], rewards: RewardMap, encode: Encode, context: float = math.inf
) -> list[Question]:
    """Of the examples whose prompt and answer are known and fit in the model's ``context`` of so
    many tokens; without a truth where that does not fit."""
    questions: list[Question] = []
    for example in examples:
        generation = example.generation
        place = answer_place(generation, encode) or []
        wanted = read_wish(generation, example.feedback, rewards).truth
        truth_ids = written_ids(generation, wanted, encode) if wanted and place else []
        # Of an answer that is known as text, this model's tokens of it: to compare two checkpoints.
        # Where nothing was said, as in a teacher's lesson, what should have been is as good.
        answer_ids = (
            generation.output_ids or encode(behind(generation, generation.output)) or truth_ids
        )
        if not generation.prompt_ids or not answer_ids:
            continue
        if len(generation.prompt_ids) + len(answer_ids) > context:
            continue
        worth = None
        if not generation.withheld:  # nobody knows what it would have earned
            worth = reward(
                generation.output, example.feedback, rewards, completed=generation.completed_at
            )
        questions.append(
            Question(
                replace(generation, output_ids=answer_ids),
                worth.value if worth else None,
                truth_ids if len(place) + len(truth_ids) <= context else [],
                place,
            )
        )
    return questions


def ask_weights(
    weights: Weights,
    questions: Sequence[Question],
    settings: LearnSettings,
    passed: Callable[[int, int], None] | None = None,
) -> Scores:
    """Ask other weights than those that are learnt; they are loaded for it, and let go.

    Raises OSError or ValueError where a folder holds no loadable weights.
    """
    # An adapter that was not moved yet costs least memory, and changes nothing.
    frozen = msgspec.structs.replace(settings, updater="lora")
    adapter = Path(weights.adapter) if weights.adapter else None
    policy = Policy(Path(weights.base), adapter, frozen)
    if passed is not None:
        policy.passed = passed
    return score_questions(policy, questions, settings.nodes)


def score_questions(policy: Policy, questions: Sequence[Question], nodes: int) -> Scores:
    """Ask the policy as it is now. Rows that share tokens share their passes."""
    asked = [list(_paths(question)) for question in questions]
    flat = [pair for pairs in asked for pair in pairs]
    paths, heat = [path for path, _ in flat], [temperature for _, temperature in flat]
    first = sum(map(len, asked[:ENTROPY_ROWS]))
    leading, entropies = score_with_entropy(policy, paths[:first], heat[:first], nodes)
    scores = iter([*leading, *policy.score(paths[first:], heat[first:], nodes)])
    scored = [_read(question, scores) for question in questions]
    # The answer is the first path of each question.
    starts = accumulate(map(len, asked[:ENTROPY_ROWS]), initial=0)
    spread = [entropies[start] for start, _ in zip(starts, asked[:ENTROPY_ROWS], strict=False)]
    return Scores(scored, float(torch.cat(spread).mean()) if spread else None)


def measure_divergence(after: Sequence[Scored], before: Sequence[Scored]) -> float | None:
    """Of the policy after an update from that before, on the same answers; see `drift`."""
    if not after:
        return None
    return measure_drift([s.answer for s in after], [s.answer for s in before]).divergence


def _paths(question: Question) -> list[tuple[TokenRow, float]]:
    generation = question.generation
    answer = TokenRow(generation.prompt_ids, generation.output_ids)
    pairs = [(answer, question.temperature)]
    if _is_warm(question):
        pairs.append((answer, 1.0))
    if question.truth_ids:
        pairs.append((TokenRow(question.place, question.truth_ids), 1.0))
    return pairs


def _is_warm(question: Question) -> bool:
    """Whether its log-probabilities at temperature 1 are needed, and are others."""
    return question.generation.selection is not None and question.temperature != 1.0


def _read(question: Question, scores: Iterator[Tensor]) -> Scored:
    answer = next(scores)
    plain = next(scores) if _is_warm(question) else answer
    wanted = float(next(scores).mean()) if question.truth_ids else None
    return Scored(answer.tolist(), float(plain[:TOKENS].sum()), wanted)


def hash_cluster(generation: Generation) -> str:
    """What the row varies with, without its name: results are kept longer than users' rows."""
    return hashlib.sha256(generation.cluster.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def compare(question: Question, before: Scored, after: Scored) -> HeldBack:
    """A question's scores under incumbent and candidate, as the gate reads them."""
    generation = question.generation
    return HeldBack(
        generation=generation.id,
        session=hash_cluster(generation),
        reward=question.reward,
        temperature=generation.temperature,
        candidate_answer=after.answer,
        incumbent_answer=before.answer,
        behaviour=find_behaviour(generation),
        candidate_truth=after.truth,
        incumbent_truth=before.truth,
        shown=generation.selection,
        candidate_confidence=after.confidence,
        incumbent_confidence=before.confidence,
    )


def find_broken(rows: Sequence[HeldBack]) -> str:
    """Why the rows tell nothing: on some of them weights compute no finite number, so that they
    cannot be served either. Empty where all is well."""
    for whose in ("incumbent", "candidate"):
        broken = sum(
            not all(map(math.isfinite, (*answer, confidence, truth if truth is not None else 0.0)))
            for answer, confidence, truth in (
                (row.incumbent_answer, row.incumbent_confidence, row.incumbent_truth)
                if whose == "incumbent"
                else (row.candidate_answer, row.candidate_confidence, row.candidate_truth)
                for row in rows
            )
        )
        if broken:
            return (
                f"the {whose}'s weights compute no finite log-probabilities on {broken} of"
                f" {len(rows)} held-back answers"
            )
    return ""


def most_moved(rows: Sequence[HeldBack], count: int = EXAMPLES) -> list[Moved]:
    """The served answers and the users' own texts whose mean log-probability changed most."""
    moved: list[Moved] = []
    for row in rows:
        if row.candidate_answer:
            before, after = _mean(row.incumbent_answer), _mean(row.candidate_answer)
            moved.append(
                Moved(generation=row.generation, text="answer", before=before, after=after)
            )
        if row.incumbent_truth is not None and row.candidate_truth is not None:
            before, after = row.incumbent_truth, row.candidate_truth
            moved.append(Moved(generation=row.generation, text="truth", before=before, after=after))
    return sorted(moved, key=lambda m: abs(m.after - m.before), reverse=True)[:count]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def score_with_entropy(
    policy: Policy, paths: Sequence[TokenRow], temperatures: Sequence[float], nodes: int
) -> tuple[list[Tensor], list[Tensor]]:
    """Per path its answer's log-probabilities (T,) at its temperature, and the entropy of the
    next token (T,) at temperature 1, in nats."""
    scores: list[Tensor] = [torch.empty(0)] * len(paths)
    entropies: list[Tensor] = [torch.empty(0)] * len(paths)
    for indices in policy.pack(paths, nodes):
        heat_B = torch.tensor([temperatures[i] for i in indices])
        score_T, entropy_T = policy.logprobs_and_entropies([paths[i] for i in indices], heat_B)
        lengths = [len(paths[i].answer_ids) for i in indices]
        parts = zip(indices, score_T.split(lengths), entropy_T.split(lengths), strict=True)
        for index, score, entropy in parts:
            scores[index], entropies[index] = score, entropy
        policy.passed(len(indices), len(paths))
    return scores, entropies
