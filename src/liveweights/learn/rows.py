"""What a cycle trains on: examples in, weighted token sequences out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from liveweights.learn.baseline import Baseline, segment
from liveweights.learn.dialogue import Dialogue, hindsight_prompt
from liveweights.learn.guards import Vote, cap, outliers
from liveweights.learn.rewards import RewardMap, reward
from liveweights.learn.selection import Shown, confidence
from liveweights.learn.settings import LearnSettings
from liveweights.learn.truth import last_correction
from liveweights.record.generation import Generation
from liveweights.record.window import Example

Role = Literal["policy", "preference", "correction", "hindsight"]
Encode = Callable[[str], list[int]]


@dataclass(frozen=True, slots=True)
class Row:
    """One sequence and what is to become of its likelihood.

    ``weight`` is the advantage of a ``policy`` row and of a ``preference`` row (a served answer
    without log-probabilities), each of either sign, and not negative for a ``correction`` and a
    ``hindsight`` row. ``behaviour`` are the recorded log-probabilities of a served answer's
    ``answer_ids`` and ``temperature`` what they were sampled at. ``teacher_ids`` is a hindsight
    row's prompt with the user's reaction. ``fresh`` rows were served by the incumbent.
    ``experts`` are those that served ``answer_ids``, where they were recorded (packed, see
    ``engines.experts``).
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
    teacher_ids: list[int] = field(default_factory=list[int])
    tenant: str = ""
    fresh: bool = False
    experts: bytes | None = None


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows in packing order, the baseline after them, and what was counted on the way.

    ``shown`` are the completions that the decision to speak is learnt from.
    ``counts`` has examples by the signal that counted most, ``masks`` what teaches nothing by the
    reason, ``outliers`` the users whose votes are left out with how far they stand from others'.
    """

    rows: list[Row]
    baseline: Baseline
    counts: dict[str, int]
    masks: dict[str, int]
    outliers: dict[str, float]
    mean_reward: float
    shown: list[Shown] = field(default_factory=list[Shown])


def build_rows(
    examples: Sequence[Example],
    baseline: Baseline,
    rewards: RewardMap,
    settings: LearnSettings,
    encode: Encode,
    *,
    incumbent: str = "",
    dialogue: Dialogue | None = None,
) -> Rows:
    """Give every example its advantage A = R - b and its demonstrations, and bound each user.

    ``encode`` turns text into token ids and reads no special tokens in it. A completion that was
    shown teaches its text, what the user wrote instead, where that is known, and whether silence
    would have been worth more. One that was drafted and withheld teaches what the user wrote.
    Words of the user teach in hindsight.
    """
    counts: Counter[str] = Counter()
    masks: Counter[str] = Counter()
    judged: list[tuple[Example, float]] = []
    signals: dict[str, str] = {}
    withheld: list[Example] = []
    for example in examples:
        generation = example.generation
        if generation.withheld:
            withheld.append(example)
            continue
        found = reward(generation.output, example.feedback, rewards, served=generation.created_at)
        if found is None:
            masks["no_reward"] += 1
            continue
        signals[generation.id] = found.signal
        judged.append((example, found.value))
    strangers = outliers([_vote(e, value) for e, value in judged], settings.outlier_distance)
    kept = [(e, value) for e, value in judged if _user(e.generation) not in strangers]
    if strangers:
        masks["outlier_user"] = len(judged) - len(kept)
    counts.update(signals[e.generation.id] for e, _ in kept)
    after = baseline.updated(
        ((segment(e.generation), value) for e, value in kept), keep=settings.baseline_keep
    )
    rows: list[Row] = []
    shown: list[Shown] = []
    for example, value in kept:
        generation = example.generation
        if not generation.prompt_ids:
            masks["no_tokens"] += 1
            continue
        expected = after.of(segment(generation), prior=settings.baseline_prior, without=value)
        answer = _answer(generation, value - expected, encode, incumbent)
        if answer is None:
            masks["no_tokens"] += 1
        else:
            rows.append(answer)
            rows += _hindsight(example, answer, settings, dialogue, encode)
        rows += _correction(example, settings, encode)
        shown += _shown(generation, rewards.silence - value, settings)
    for example in withheld:
        taught = _correction(example, settings, encode)
        rows += taught
        masks["withheld"] += not taught
    mean = sum(value for _, value in kept) / len(kept) if kept else 0.0
    order = {example.generation.id: place for place, example in enumerate(examples)}
    rows.sort(key=lambda row: (row.session, order[row.generation]))
    rows = cap(rows, settings.user_share, lambda row: row.user)
    rows = cap(rows, settings.tenant_share, lambda row: row.tenant)
    shown = cap(shown, settings.user_share, lambda one: one.user)
    shown = cap(shown, settings.tenant_share, lambda one: one.tenant)
    return Rows(rows, after, dict(counts), dict(+masks), strangers, mean, shown)


def _shown(generation: Generation, gain: float, settings: LearnSettings) -> list[Shown]:
    """Nothing for what cannot be withheld, or is not known to have been sure or unsure."""
    if (
        generation.endpoint != "completion"
        or not generation.output
        or not generation.raw_logprobs
        or not settings.silence_weight
    ):
        return []
    price = settings.silence_weight if gain > 0 else 1.0
    return [
        Shown(
            confidence=confidence(generation.raw_logprobs),
            weight=price * gain,
            logprob=generation.selection or 0.0,
            user=_user(generation),
            tenant=generation.tenant,
        )
    ]


def _vote(example: Example, value: float) -> Vote:
    generation = example.generation
    probabilities = generation.raw_logprobs
    sureness = sum(probabilities) / len(probabilities) if probabilities else 0.0
    return Vote(_user(generation), segment(generation), value, sureness)


def _answer(
    generation: Generation,
    advantage: float,
    encode: Encode,
    incumbent: str,
) -> Row | None:
    """The served answer: tokens as they were sampled, or as text where an upstream gave none."""
    answer = generation.output_ids or encode(generation.healed + generation.output)
    if not answer:
        return None
    sampled = generation.temperature > 0
    behaviour = generation.logprobs if sampled else generation.raw_logprobs
    if len(behaviour) != len(answer):
        row = _row(generation, "preference", answer, advantage)
        return replace(row, experts=generation.experts)
    # A greedy choice has probability 1; what drifts between checkpoints is the raw distribution.
    return replace(
        _row(generation, "policy", answer, advantage),
        experts=generation.experts,
        behaviour=behaviour,
        temperature=generation.temperature if sampled else 1.0,
        fresh=generation.checkpoint == incumbent,
    )


def written_ids(generation: Generation, text: str, encode: Encode) -> list[int]:
    """Token ids of what a user wrote in the answer's place, up to the last visible character.

    What follows the text decides how its closing blanks are tokenised (a line's end and the next
    one's indentation are a single token), and that is not known: a newline by itself would be
    learnt as a token that the model never meets there.
    """
    return encode((generation.healed + text).rstrip())


def _correction(example: Example, settings: LearnSettings, encode: Encode) -> list[Row]:
    written = last_correction(example.feedback)
    if written is None or not settings.correction_weight:
        return []
    answer = written_ids(example.generation, written, encode)
    if not answer:
        return []
    return [_row(example.generation, "correction", answer, settings.correction_weight)]


def _hindsight(
    example: Example,
    answer: Row,
    settings: LearnSettings,
    dialogue: Dialogue | None,
    encode: Encode,
) -> list[Row]:
    words = [f.text for f in example.feedback if f.signal == "comment" and f.text]
    if not words or not settings.hindsight_weight:
        return []
    teacher_ids = hindsight_prompt(answer.prompt_ids, words[-1], dialogue, encode)
    return [
        replace(
            answer,
            role="hindsight",
            weight=settings.hindsight_weight,
            teacher_ids=teacher_ids,
        )
    ]


def _user(generation: Generation) -> str:
    return f"{generation.tenant}/{generation.user or generation.session or generation.id}"


def _row(generation: Generation, role: Role, answer_ids: list[int], weight: float) -> Row:
    return Row(
        role=role,
        generation=generation.id,
        session=generation.cluster,
        user=_user(generation),
        prompt_ids=generation.prompt_ids,
        answer_ids=answer_ids,
        weight=weight,
        behaviour=[],
        temperature=1.0,
        tenant=generation.tenant,
    )
