"""What a cycle trains on: examples in, weighted token sequences out."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from types import MappingProxyType
from typing import Literal

from liveweights.learn.baseline import Baseline
from liveweights.learn.conduct import Conduct, measure_conduct
from liveweights.learn.credit import Credit, assign_credit
from liveweights.learn.dialogue import Dialogue, hindsight_prompt
from liveweights.learn.guards import Vote, outliers
from liveweights.learn.rewards import RewardMap
from liveweights.learn.sampled import find_behaviour, find_temperature, is_narrowed
from liveweights.learn.settings import LearnSettings
from liveweights.learn.shares import bound
from liveweights.learn.truth import last_correction
from liveweights.learn.voters import Voter, find_voters, name_of
from liveweights.record.example import Example, find_episodes, own_feedback
from liveweights.record.generation import Generation

Role = Literal["policy", "preference", "correction", "hindsight"]
Encode = Callable[[str], list[int]]


@dataclass(frozen=True, slots=True)
class Row:
    """One sequence and what is to become of its likelihood.

    ``weight`` is the advantage of a ``policy`` row and of a ``preference`` row (a served answer
    without log-probabilities), each of either sign, and not negative for a ``correction`` and a
    ``hindsight`` row. ``behaviour`` are the recorded log-probabilities of a served answer's
    ``answer_ids`` and ``temperature`` what they were sampled at. ``teacher_ids`` is a hindsight
    row's prompt with the user's reaction. ``fresh`` rows were served by the incumbent,
    as it would have spoken by itself.
    ``experts`` are those that served ``answer_ids``, where they were recorded (packed, see
    ``engines.experts``).
    """

    role: Role
    generation: str
    session: str
    voter: Voter
    prompt_ids: list[int]
    answer_ids: list[int]
    weight: float
    behaviour: list[float]
    temperature: float
    teacher_ids: list[int] = field(default_factory=list[int])
    fresh: bool = False
    experts: bytes | None = None

    @property
    def length(self) -> int:
        """Tokens of the longer of the two sequences that it may take."""
        return max(len(self.prompt_ids), len(self.teacher_ids)) + len(self.answer_ids)


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows in packing order, the baseline after them, and what was counted on the way.

    ``counts`` has examples by the signal that counted most, ``masks`` what teaches nothing by the
    reason, ``outliers`` the groups of voters (`voters.Voter.group`) whose votes are left out with
    how far they stand from others', and ``left_out`` the generations that they voted on.
    ``conduct`` is of the episodes among the examples.
    """

    rows: list[Row]
    baseline: Baseline
    counts: dict[str, int]
    masks: dict[str, int]
    outliers: dict[str, float]
    mean_reward: float
    left_out: list[str] = field(default_factory=list[str])
    conduct: Conduct | None = None


NOBODY: Mapping[str, int] = MappingProxyType({})


def build_rows(
    examples: Sequence[Example],
    baseline: Baseline,
    rewards: RewardMap,
    settings: LearnSettings,
    *,
    encode: Encode,
    incumbent: str = "",
    dialogue: Dialogue | None = None,
    opening: tuple[int, ...] = (),
    earlier: Mapping[str, int] = NOBODY,
    held_back: Sequence[Example] = (),
    context: float = math.inf,
) -> Rows:
    """Give every example its advantage A = R - b (of a step of an episode, as `credit` has it) and
    its demonstrations, and bound what each key
    and each user moves. ``earlier`` is for `voters.find_voters`. ``held_back`` examples teach
    nothing, but their votes are votes too: they help to tell whose are left out, there as well.

    ``encode`` turns text into token ids and reads no special tokens in it. A completion that was
    shown teaches its text, and what the user wrote instead, where that is known. One that was
    drafted and withheld teaches what the user wrote. Words of the user teach in hindsight, behind
    the ``opening`` of the model's texts (`dialogue.read_opening`). Rows of more tokens than the
    model's ``context`` are left out: people may write, and other models say, what is longer.
    """
    counts: Counter[str] = Counter()
    masks: Counter[str] = Counter()
    judged = assign_credit(examples, rewards, settings)
    everyone = [*examples, *held_back]
    elsewhere = assign_credit(held_back, rewards, settings)
    tasks = {c.example.generation.id: c.task for c in (*judged, *elsewhere)}
    voters = find_voters([e.generation for e in everyone], earlier, settings.known_votes, tasks)
    votes = _votes([c for c in (*judged, *elsewhere) if c.counts], voters, settings)
    strangers = outliers(votes, settings.outlier_distance)
    left_out = [e.generation.id for e in everyone if voters[e.generation.id].group in strangers]
    out = frozenset(left_out)
    kept = [credit for credit in judged if credit.example.generation.id not in out]
    counted = [credit for credit in kept if credit.counts]
    last = {episode.steps[-1].generation.id for episode in find_episodes(examples)}
    withheld = [e for e in examples if e.generation.withheld and e.generation.id not in out]
    masks["no_reward"] = len(examples) - len(judged) - sum(e.generation.withheld for e in examples)
    masks["outlier_user"] = len(judged) - len(kept)
    counts.update(credit.reward.signal for credit in kept)
    after = baseline.updated(
        ((credit.segment, credit.reward.value) for credit in counted), keep=settings.baseline_keep
    )
    rows: list[Row] = []
    for credit in kept:
        example, value = credit.example, credit.reward.value
        generation = example.generation
        voter = voters[generation.id]
        if not generation.prompt_ids:
            masks["no_tokens"] += 1
            continue
        expected = after.of(credit.segment, prior=settings.baseline_prior, without=value)
        advantage = credit.share * (value - expected)
        answer = _answer(generation, voter, advantage, encode=encode, incumbent=incumbent)
        if answer is None:
            masks["no_tokens"] += 1
        else:
            rows.append(answer)
            # What was said of the whole episode is told where it ended.
            said = example if generation.id in last else Example(generation, own_feedback(example))
            rows += _hindsight(
                said, answer, settings=settings, dialogue=dialogue, opening=opening, encode=encode
            )
        rows += _correction(example, voter, settings, encode)
    for example in withheld:
        taught = _correction(example, voters[example.generation.id], settings, encode)
        rows += taught
        masks["withheld"] += not taught
    fitting = [row for row in rows if row.length <= context]
    masks["too_long"] = len(rows) - len(fitting)
    mean = sum(c.reward.value for c in counted) / len(counted) if counted else 0.0
    order = {example.generation.id: place for place, example in enumerate(examples)}
    fitting.sort(key=lambda row: (row.session, order[row.generation]))
    return Rows(
        rows=bound(fitting, settings, partial(_influence, settings=settings)),
        baseline=after,
        counts=dict(counts),
        masks=dict(+masks),
        outliers=strangers,
        mean_reward=mean,
        left_out=left_out,
        conduct=measure_conduct(find_episodes(examples), rewards),
    )


def _influence(row: Row, settings: LearnSettings) -> float:
    """How much of an update's first gradient a row is, in tokens: losses are summed over these, and
    how long a correction is its writer says. Of `gspo` an answer is one; of KTO each token has the
    slope of the sigmoid, beta / 4 where the policy is the incumbent."""
    if row.role == "policy" and settings.loss == "gspo":
        return abs(row.weight)
    slope = settings.kto_beta / 4 if row.role == "preference" else 1.0
    return abs(row.weight) * slope * len(row.answer_ids)


@dataclass(frozen=True, slots=True)
class _Ballot:
    """One vote's influence."""

    voter: Voter
    weight: float = 1.0


def _votes(
    judged: Sequence[Credit], voters: Mapping[str, Voter], settings: LearnSettings
) -> list[Vote]:
    ballots = bound([_Ballot(voters[c.example.generation.id]) for c in judged], settings)
    votes: list[Vote] = []
    for credit, ballot in zip(judged, ballots, strict=True):
        generation = credit.example.generation
        probabilities = generation.raw_logprobs
        sureness = sum(probabilities) / len(probabilities) if probabilities else 0.0
        votes.append(
            Vote(
                user=name_of(generation) or generation.cluster,
                group=ballot.voter.group,
                segment=credit.segment,
                reward=credit.reward.value,
                sureness=sureness,
                weight=ballot.weight,
            )
        )
    return votes


def _answer(
    generation: Generation,
    voter: Voter,
    advantage: float,
    *,
    encode: Encode,
    incumbent: str,
) -> Row | None:
    """The served answer: tokens as they were sampled, or as text where an upstream gave none."""
    answer = generation.output_ids or encode(behind(generation, generation.output))
    if not answer:
        return None
    behaviour = find_behaviour(generation)
    if len(behaviour) != len(answer):
        row = _row(generation, voter, role="preference", answer_ids=answer, weight=advantage)
        return replace(row, experts=generation.experts)
    return replace(
        _row(generation, voter, role="policy", answer_ids=answer, weight=advantage),
        experts=generation.experts,
        behaviour=behaviour,
        temperature=find_temperature(generation),
        fresh=generation.checkpoint == incumbent and not is_narrowed(generation),
    )


def behind(generation: Generation, text: str) -> str:
    """An answer's text as it goes on behind the prompt. A chat's may have its blank already."""
    if generation.endpoint == "chat" and text[:1].isspace():
        return text
    return generation.healed + text


def written_ids(generation: Generation, text: str, encode: Encode) -> list[int]:
    """Token ids of what a user wrote in the answer's place, up to the last visible character.

    What follows the text decides how its closing blanks are tokenised (a line's end and the next
    one's indentation are a single token), and that is not known: a newline by itself would be
    learnt as a token that the model never meets there.
    """
    return encode(behind(generation, text).rstrip())


BLANKS = ("\n\n", "\n")
"""What families put between what they thought and the answer."""


def answer_place(generation: Generation, encode: Encode) -> list[int] | None:
    """Token ids after which the answer stands: the prompt's and, where the model thought before it
    answered, those of what it thought, with its marks. None where it thought to the end: no answer
    was begun. Of an answer that is known as text the prompt has its thought (`passages`)."""
    thought = generation.usage.get("reasoning_tokens", 0)
    output = generation.output_ids
    if not thought or not output:
        return generation.prompt_ids
    if thought >= len(output):
        return None
    for blank in map(encode, BLANKS):
        if blank and output[thought : thought + len(blank)] == blank:
            thought += len(blank)
            break
    return [*generation.prompt_ids, *output[:thought]]


def _correction(
    example: Example, voter: Voter, settings: LearnSettings, encode: Encode
) -> list[Row]:
    written = last_correction(example.feedback)
    if written is None or not settings.correction_weight or not example.generation.prompt_ids:
        return []
    answer = written_ids(example.generation, written, encode)
    place = answer_place(example.generation, encode)
    if not answer or place is None:
        return []
    row = _row(
        example.generation,
        voter,
        role="correction",
        answer_ids=answer,
        weight=settings.correction_weight,
    )
    return [replace(row, prompt_ids=place)]


def _hindsight(
    example: Example,
    answer: Row,
    *,
    settings: LearnSettings,
    dialogue: Dialogue | None,
    opening: tuple[int, ...],
    encode: Encode,
) -> list[Row]:
    words = [f.text for f in example.feedback if f.signal == "comment" and f.text]
    if not words or not settings.hindsight_weight:
        return []
    teacher_ids = hindsight_prompt(answer.prompt_ids, words[-1], dialogue, encode, opening=opening)
    return [
        replace(
            answer,
            role="hindsight",
            weight=settings.hindsight_weight,
            teacher_ids=teacher_ids,
        )
    ]


def _row(
    generation: Generation, voter: Voter, *, role: Role, answer_ids: list[int], weight: float
) -> Row:
    return Row(
        role=role,
        generation=generation.id,
        session=generation.cluster,
        voter=voter,
        prompt_ids=generation.prompt_ids,
        answer_ids=answer_ids,
        weight=weight,
        behaviour=[],
        temperature=1.0,
    )
