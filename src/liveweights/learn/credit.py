"""Which reward each answer is credited with: its own, or a share of what its episode came to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from liveweights.learn.baseline import segment
from liveweights.learn.rewards import Reward, RewardMap, reward
from liveweights.learn.settings import LearnSettings
from liveweights.record.example import Episode, Example, find_episodes, own_feedback

OUTCOME = "episode"
"""What the segment of an outcome ends with: tasks are not compared with single answers."""
_SOMETHING = "."
"""An episode is never silence, whatever text its last step has."""


@dataclass(frozen=True, slots=True)
class Credit:
    """The advantage of ``example`` is ``share`` * (``reward`` - the baseline of ``segment``).

    ``counts`` is the one of its episode's credits that baseline and votes are counted by: an
    episode is one reaction, however many steps it has. ``task`` names the episode, else the answer.
    """

    example: Example
    reward: Reward
    segment: str
    task: str
    share: float = 1.0
    counts: bool = True


def outcome_of(episode: Episode, rewards: RewardMap) -> Reward | None:
    """As `rewards.reward` has it of one answer: of each kind the last counts, a number decides
    alone. None where nothing was said that carries a reward."""
    return reward(_SOMETHING, episode.said(), rewards)


def assign_credit(
    examples: Sequence[Example], rewards: RewardMap, settings: LearnSettings
) -> list[Credit]:
    """The credits of answers that somebody saw and reacted to, in the order of ``examples``.

    An outcome R of an episode with steps 0 to n - 1 gives step k the advantage
    share_k * (R - b), where b is the mean outcome of other episodes of its segment
    (REINFORCE with a leave-one-out baseline over whole trajectories: Kool et al. 2019, Ahmadian et
    al. 2024, arXiv 2402.14740). ``settings.credit`` says what share_k is:

    - ``outcome``: 1 for every step, the policy gradient of the outcome (Williams 1992, "Simple
      statistical gradient-following algorithms", section 4: episodic REINFORCE);
    - ``discounted``: ``discount`` ** (n - 1 - k), of a reward that comes at the end (Sutton and
      Barto 2018, section 3.3);
    - ``steps``: 1, and a step that was reacted to itself has its own reward, and the baseline of
      single answers, instead.

    An answer whose episode has no outcome is judged by what was said of itself.
    """
    outcomes: dict[str, Credit] = {}
    for episode in find_episodes(examples):
        outcome = outcome_of(episode, rewards)
        if outcome is None:
            continue
        shared = [
            (place, step)
            for place, step in enumerate(episode.steps)
            if not step.generation.withheld
            and (settings.credit != "steps" or _own_credit(step, rewards) is None)
        ]
        count = len(episode.steps)
        for place, step in shared:
            discounted = settings.credit == "discounted"
            outcomes[step.generation.id] = Credit(
                step,
                outcome,
                f"{segment(episode.steps[0].generation)}/{OUTCOME}",
                episode.key,
                share=settings.discount ** (count - 1 - place) if discounted else 1.0,
                counts=place == shared[0][0],
            )
    credits = (
        outcomes.get(example.generation.id) or _own_credit(example, rewards) for example in examples
    )
    return [credit for credit in credits if credit is not None]


def _own_credit(example: Example, rewards: RewardMap) -> Credit | None:
    g = example.generation
    if g.withheld:
        return None
    worth = reward(g.output, own_feedback(example), rewards, completed=g.completed_at)
    return None if worth is None else Credit(example, worth, segment(g), g.id)
