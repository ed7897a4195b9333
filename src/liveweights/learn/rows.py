"""What a cycle trains on: examples in, weighted token sequences out."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from liveweights.learn.baseline import Baseline, segment
from liveweights.learn.rewards import RewardMap, reward
from liveweights.learn.settings import LearnSettings
from liveweights.record.generation import Generation
from liveweights.record.window import Example

Role = Literal["policy", "preference", "correction", "silence"]
Encode = Callable[[str], list[int]]


@dataclass(frozen=True, slots=True)
class Row:
    """One sequence and what is to become of its likelihood.

    ``weight`` is the advantage of a ``policy`` row and of a ``preference`` row (a served answer
    without log-probabilities), what silence would have earned more than the answer for a
    ``silence`` row, each of either sign, and the weight of a ``correction`` (not negative).
    ``behaviour`` are the recorded log-probabilities of a policy row's ``answer_ids`` and
    ``temperature`` what they were sampled at. ``silence`` is the token that would have been
    nothing instead: then the row teaches what is said, and not whether.
    """

    role: Role
    generation: str
    session: str
    user: str
    prompt_ids: list[int]
    answer_ids: list[int]
    weight: float
    behaviour: list[float]
    temperature: float
    silence: int | None = None


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows in packing order, the baseline after them, and what was counted on the way."""

    rows: list[Row]
    baseline: Baseline
    counts: dict[str, int]
    mean_reward: float


def build_rows(
    examples: Sequence[Example],
    baseline: Baseline,
    rewards: RewardMap,
    settings: LearnSettings,
    encode: Encode,
    end_of_text: int,
) -> Rows:
    """Give every example its advantage A = R - b, its demonstrations, and cap each user.

    ``encode`` turns text into token ids without special tokens. A completion that was shown
    teaches its text, what the user wrote instead, where that is known, and whether silence, the
    token ``end_of_text``, would have been worth more.
    """
    counts: Counter[str] = Counter()
    judged: list[tuple[Example, float]] = []
    for example in examples:
        found = reward(example.generation.output, example.feedback, rewards)
        if found is None:
            counts["no_reward"] += 1
            continue
        counts[found.signal] += 1
        judged.append((example, found.value))
    after = baseline.updated(
        ((segment(e.generation), value) for e, value in judged), keep=settings.baseline_keep
    )
    rows: list[Row] = []
    for example, value in judged:
        generation = example.generation
        spoke = generation.endpoint == "completion" and bool(generation.output)
        silence = end_of_text if spoke and settings.silence_weight else None
        expected = after.of(segment(generation), prior=settings.baseline_prior, without=value)
        rows += _answer(generation, value - expected, silence, encode, counts)
        rows += _correction(example, settings, silence, encode, counts)
        if silence is not None and generation.prompt_ids:
            gain = rewards.silence - value
            price = settings.silence_weight if gain > 0 else 1.0
            rows.append(_row(generation, "silence", [silence], price * gain))
    mean = sum(value for _, value in judged) / len(judged) if judged else 0.0
    order = {e.generation.id: place for place, (e, _) in enumerate(judged)}
    rows.sort(key=lambda row: (row.session, order[row.generation]))
    return Rows(cap_users(rows, settings.user_share), after, dict(counts), mean)


def cap_users(rows: Sequence[Row], share: float) -> list[Row]:
    """Scale down each user's rows so that none holds more than ``share`` of the total absolute
    weight before capping. With fewer than 1/share users nobody is capped."""
    held: defaultdict[str, float] = defaultdict(float)
    for row in rows:
        held[row.user] += abs(row.weight)
    allowed = share * sum(held.values())
    if len(held) * share < 1:
        return list(rows)
    return [
        row
        if held[row.user] <= allowed
        else replace(row, weight=row.weight * allowed / held[row.user])
        for row in rows
    ]


def _answer(
    generation: Generation,
    advantage: float,
    silence: int | None,
    encode: Encode,
    counts: Counter[str],
) -> list[Row]:
    answer = generation.output_ids or encode(generation.healed + generation.output)
    if not answer or not generation.prompt_ids:
        counts["no_tokens"] += 1
        return []
    sampled = generation.temperature > 0
    behaviour = generation.logprobs if sampled else generation.raw_logprobs
    if len(behaviour) != len(answer):
        counts["no_logprobs"] += 1
        return [replace(_row(generation, "preference", answer, advantage), silence=silence)]
    # A greedy choice has probability 1; what drifts between checkpoints is the raw distribution.
    return [
        replace(
            _row(generation, "policy", answer, advantage),
            behaviour=behaviour,
            temperature=generation.temperature if sampled else 1.0,
            silence=silence,
        )
    ]


def _correction(
    example: Example,
    settings: LearnSettings,
    silence: int | None,
    encode: Encode,
    counts: Counter[str],
) -> list[Row]:
    texts = [f.text for f in example.feedback if f.signal == "correction" and f.text]
    if not texts or not example.generation.prompt_ids or not settings.correction_weight:
        return []
    answer = encode(example.generation.healed + texts[-1])
    counts["correction_rows"] += 1
    row = _row(example.generation, "correction", answer, settings.correction_weight)
    return [replace(row, silence=silence)]


def _row(generation: Generation, role: Role, answer_ids: list[int], weight: float) -> Row:
    return Row(
        role=role,
        generation=generation.id,
        session=generation.session or generation.user or generation.id,
        user=f"{generation.tenant}/{generation.user or generation.session or generation.id}",
        prompt_ids=generation.prompt_ids,
        answer_ids=answer_ids,
        weight=weight,
        behaviour=[],
        temperature=1.0,
    )
