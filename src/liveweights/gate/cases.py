"""Held-back prompts that candidate and incumbent answer again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

from liveweights.gate.calibration import is_right
from liveweights.gate.forgone import LEAST_RIGHT
from liveweights.gate.scoring import Case
from liveweights.gate.settings import GateSettings
from liveweights.learn.passages import prompt_text
from liveweights.learn.rewards import RewardMap
from liveweights.learn.truth import read_wish
from liveweights.learn.voters import NOBODY, Voter
from liveweights.record.example import Example, find_episodes
from liveweights.record.generation import Generation
from liveweights.record.split import split_key, split_of

CYCLES = 10
"""How many cycles, this one included, cases come from."""
EXPECTED_RIGHT = LEAST_RIGHT * 3 // 2
"""Right answers in the record for which at least `LEAST_RIGHT` drafts are right nearly always: of a
Poisson number with that mean, in 99 of 100."""


def make_cases(
    examples: Sequence[Example],
    held_back_share: float,
    rewards: RewardMap,
    voters: Mapping[str, Voter] = MappingProxyType({}),
) -> list[tuple[Case, Generation]]:
    """Cases of ``examples``, as `list_cases` does; sessions in one piece, since their prompts
    continue each other and engines keep the last."""
    return in_sessions(list_cases(examples, held_back_share, rewards, voters))


def list_cases(
    examples: Sequence[Example],
    held_back_share: float,
    rewards: RewardMap,
    voters: Mapping[str, Voter] = MappingProxyType({}),
) -> list[tuple[Case, Generation]]:
    """Of the completions among ``examples`` those whose side of the split is still held back, in
    their order. Of an episode the first step: what came after depends on what the model did
    before."""
    return [
        (_make_case(example, rewards, voters), example.generation)
        for example in _list_judging(examples, held_back_share)
        if example.generation.endpoint == "completion"
        and (example.generation.prompt_ids or prompt_text(example.generation))
    ]


def list_chats(
    examples: Sequence[Example], held_back_share: float
) -> list[tuple[Case, Generation]]:
    """Of the chat answers among ``examples`` those that are asked again to see how either answers,
    by the same rule. What it earns nobody knows: no two say the same."""
    return [
        (Case(generation.id, generation.cluster, None), generation)
        for generation in (e.generation for e in _list_judging(examples, held_back_share))
        if generation.endpoint == "chat" and generation.prompt_ids
    ]


def _list_judging(examples: Sequence[Example], share: float) -> Iterator[Example]:
    later = {
        step.generation.id for episode in find_episodes(examples) for step in episode.steps[1:]
    }
    for example in examples:
        generation = example.generation
        if (
            (generation.output_ids or generation.output)
            and generation.id not in later
            and is_held_back(generation, share)
        ):
            yield example


def in_sessions(cases: Sequence[tuple[Case, Generation]]) -> list[tuple[Case, Generation]]:
    """Each session in one piece."""
    return sorted(cases, key=lambda pair: pair[0].session)


def count_wanted(
    cases: Sequence[tuple[Case, Generation]], settings: GateSettings, *, silence: bool
) -> int:
    """How many of the ``cases``, from the first on, are to be asked: ``settings.cases``.

    To learn ``silence``, as many more as it takes until so many answers in the record were right
    that a candidate's drafts will be enough to tell what silence forgoes (see `forgone`);
    ``settings.silence_cases`` at most.
    """
    least = settings.cases
    if not silence or not least or settings.keep_accepted <= 0:
        return least
    right = 0
    for place, (case, generation) in enumerate(cases[: settings.silence_cases], 1):
        right += is_right(generation.output, case) is True
        if right >= EXPECTED_RIGHT:
            return max(least, place)
    return max(least, settings.silence_cases)


def _make_case(example: Example, rewards: RewardMap, voters: Mapping[str, Voter]) -> Case:
    g = example.generation
    wish = read_wish(g, example.feedback, rewards)
    return Case(
        g.id,
        g.cluster,
        wish.truth,
        rejected=g.output if wish.taken is False and g.output else None,
        taken=wish.taken,
        may_be_silent=g.selection is not None,
        voter=voters.get(g.id, NOBODY),
    )


def is_held_back(generation: Generation, share: float) -> bool:
    """Whether an answer would be held back today: what was is learnt from since, where the share is
    less than it was."""
    key = split_key(generation.tenant, generation.session, generation.user, generation.id)
    return split_of(key, share) == "held_back"
