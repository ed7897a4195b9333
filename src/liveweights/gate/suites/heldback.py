"""The product's own suite: what its users took or wrote, on rows that no update has seen."""

from __future__ import annotations

from collections.abc import Sequence

from liveweights.gate.suites.questions import Questions
from liveweights.gate.suites.suite import Card, Case
from liveweights.learn.passages import prompt_text
from liveweights.learn.rewards import RewardMap
from liveweights.learn.truth import read_wish
from liveweights.record.example import Example

CARD = Card(
    name="held-back",
    version="1",
    title="Held-back replay: give the answer that the user took or wrote",
    licence="your users'",
    source="this service's record",
    seconds=60,
    margin=0.02,
    max_tokens=64,
    private=True,
)
MARGIN = 8
"""Tokens more than were allowed at least, so that a wrong longer answer is seen to be wrong."""


def read_cases(examples: Sequence[Example], rewards: RewardMap) -> list[Case]:
    """A case per completion whose right answer is known, asked as the token ids that were served,
    or in words where these are not known; a session's depend on one another."""
    cases: list[Case] = []
    for example in examples:
        generation = example.generation
        target = read_wish(generation, example.feedback, rewards).truth
        prompt = generation.prompt_ids or prompt_text(generation)
        if target is None or generation.endpoint != "completion" or not prompt:
            continue
        one_line = "\n" not in target.rstrip() and "\n" not in generation.healed
        cases.append(
            Case(
                id=generation.id,
                prompt=prompt,
                target={"truth": target, "healed": generation.healed},
                group=generation.cluster,
                stop=["\n"] if one_line else [],
                max_tokens=max(generation.max_tokens or 32, MARGIN),
            )
        )
    return cases


async def taken(answer: str, case: Case) -> tuple[float, str]:
    """Whether the user would have taken the answer: space at the end is not seen."""
    given = answer.removeprefix(case.target["healed"]).rstrip()
    return float(given != "" and given == case.target["truth"].rstrip()), ""


def open_heldback(cases: Sequence[Case]) -> Questions:
    """With cases that `read_cases` made."""
    return Questions(CARD, cases, taken)
