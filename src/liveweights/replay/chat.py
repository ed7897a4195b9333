"""People who chat with the circle of `circle`, and what a checkpoint answers to tasks.

Each person asks for one thing after the other in a conversation, and says again what was
answered wrongly: the next request of a conversation is a reaction to the answer before it.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from liveweights.catalog.template import ChatTemplate
from liveweights.engines.protocol import Sampling
from liveweights.learn.rewards import RewardMap, reward
from liveweights.record.example import Example
from liveweights.record.generation import Generation
from liveweights.replay.asker import Manners, Reaction, react
from liveweights.replay.circle import Circle, SignalValue, hash_of, reacted, sent
from liveweights.replay.comparison import Estimate, clustered_mean
from liveweights.replay.tasks import Task, is_right
from liveweights.serve.api.caller import Caller
from liveweights.weights.checkpoint import Checkpoint

MAX_TOKENS = 40
Message = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Talk:
    """Answers with their reactions, by time; whether each was right; and ``follow_ups`` as
    `learner.Job` has them."""

    examples: list[Example]
    right: dict[str, bool]
    follow_ups: dict[str, list[int]]


@dataclass(frozen=True, slots=True)
class Answers:
    """What one checkpoint said to tasks, each asked in a conversation of its own."""

    checkpoint: str
    tasks: tuple[Task, ...]
    texts: tuple[str, ...]

    @property
    def right(self) -> list[bool]:
        return [is_right(text, task) for text, task in zip(self.texts, self.tasks, strict=True)]

    def rewards(self, rewards: RewardMap) -> list[float]:
        """What each answer would earn of a person who says everything: a thumb, and what of the
        answer they keep."""
        return [
            worth(text, task, rewards) for text, task in zip(self.texts, self.tasks, strict=True)
        ]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two checkpoints on the same tasks: shares of right answers, mean rewards, and the paired
    differences, last less base, with intervals."""

    tasks: int
    base_right: float
    last_right: float
    right: Estimate
    base_reward: float
    last_reward: float
    reward: Estimate

    def as_dict(self) -> dict[str, Any]:
        return {
            "tasks": self.tasks,
            "base": {"right": self.base_right, "reward": self.base_reward},
            "last": {"right": self.last_right, "reward": self.last_reward},
            "right": self.right.as_dict(),
            "reward": self.reward.as_dict(),
        }


@dataclass
class Conversations:
    """People who chat with ``circle``; an async context manager, for the model's template.

    ``turns`` are the requests of one conversation at most.
    """

    circle: Circle
    manners: Manners = field(default_factory=Manners)
    temperature: float = 0.7
    turns: int = 3

    async def __aenter__(self) -> Self:
        """Raises TemplateRefusal where the model has no template for chats."""
        self._template = ChatTemplate(self.circle.tokenizer)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._template.close()

    async def talk(self, tasks: Iterator[Task], count: int, users: int = 8) -> Talk:
        """About ``count`` requests of users who talk about ``tasks``, with their reactions."""
        circle = self.circle
        talk = Talk([], {}, {})
        asked = number = 0

        async def person() -> None:
            nonlocal asked, number
            while asked < count:
                number += 1
                session = f"{circle.turns}-chat-{number}"
                user = f"person-{hash_of(session) % users}"
                draw = random.Random(f"{circle.settings.seed}:{session}")
                messages: list[Message] = []
                task, before = next(tasks), None
                words: str | None = None
                for _ in range(self.turns):
                    if asked >= count:
                        return
                    asked += 1
                    messages.append(
                        _message("user", f"{words} {task.wish}" if words else task.wish)
                    )
                    prompt_ids = await self._encode(messages)
                    if before is not None:
                        talk.follow_ups[before.id] = prompt_ids
                    before = await self._answer(
                        circle.live, prompt_ids, user, session, temperature=self.temperature
                    )
                    reaction = react(task, before.output, self.manners, draw)
                    talk.examples.append(reacted(before, signals(reaction)))
                    right = talk.right[before.id] = is_right(before.output, task)
                    messages.append(_message("assistant", before.output))
                    words = reaction.words
                    if right:
                        task = next(tasks)
                    elif words is None:
                        break  # a wrong answer that is not complained of ends the conversation

        async with asyncio.TaskGroup() as group:
            for _ in range(circle.developers):
                group.create_task(person())
        talk.examples.sort(key=lambda example: example.generation.created_at)
        return talk

    async def ask(self, checkpoint: Checkpoint, tasks: Sequence[Task]) -> Answers:
        """What a checkpoint says to each task, greedily."""
        texts = [""] * len(tasks)
        waiting = iter(enumerate(tasks))

        async def work() -> None:
            for place, task in waiting:
                prompt_ids = await self._encode([_message("user", task.wish)])
                answer = await self._answer(
                    checkpoint, prompt_ids, "measure", str(place), temperature=0.0
                )
                texts[place] = answer.output

        async with asyncio.TaskGroup() as group:
            for _ in range(self.circle.developers):
                group.create_task(work())
        return Answers(checkpoint.id, tuple(tasks), tuple(texts))

    async def _encode(self, messages: list[Message]) -> list[int]:
        text = await self._template.render(messages, None)
        return list(self.circle.tokenizer(text, add_special_tokens=False).input_ids)

    async def _answer(
        self,
        checkpoint: Checkpoint,
        prompt_ids: list[int],
        user: str,
        session: str,
        *,
        temperature: float,
    ) -> Generation:
        caller = Caller(
            tenant="default",
            user=user,
            session=session,
            surface="chat",
            language="english",
            consent=True,
        )
        sampling = Sampling(max_tokens=MAX_TOKENS, temperature=temperature)
        return await self.circle.answer(checkpoint, "chat", prompt_ids, sampling, caller=caller)


def signals(reaction: Reaction) -> list[SignalValue]:
    """What is sent of a reaction beside its words, which are the next message."""
    values: list[SignalValue] = []
    if reaction.thumb is not None:
        values.append(("thumbs", float(reaction.thumb)))
    if reaction.edit is not None:
        values.append(("correction", reaction.edit))
    return values


def worth(text: str, task: Task, rewards: RewardMap) -> float:
    """The reward, in [-1, 1], that an answer earns by a thumb and by what is kept of it."""
    right = is_right(text, task)
    signals: list[SignalValue] = [
        ("thumbs", 1.0 if right else -1.0),
        ("edited", text if right else task.answer),
    ]
    earned = reward(text, sent("", signals), rewards)
    assert earned is not None  # a thumb was given
    return earned.value


def compare_answers(base: Answers, last: Answers, rewards: RewardMap) -> Comparison:
    """Pair two checkpoints' answers; those to a phrasing of a family depend on one another.

    Raises ValueError where the tasks are not the same.
    """
    if base.tasks != last.tasks or not base.tasks:
        raise ValueError("the two checkpoints were not asked the same tasks")
    clusters = [task.cluster for task in base.tasks]
    before, after = (
        ([float(right) for right in one.right], one.rewards(rewards)) for one in (base, last)
    )

    def difference(old: Sequence[float], new: Sequence[float]) -> Estimate:
        return clustered_mean([b - a for a, b in zip(old, new, strict=True)], clusters)

    count = len(base.tasks)
    return Comparison(
        tasks=count,
        base_right=sum(before[0]) / count,
        last_right=sum(after[0]) / count,
        right=difference(before[0], after[0]),
        base_reward=sum(before[1]) / count,
        last_reward=sum(after[1]) / count,
        reward=difference(before[1], after[1]),
    )


def _message(role: str, content: str) -> Message:
    return {"role": role, "content": content}
