from __future__ import annotations

import asyncio
from collections import Counter
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liveweights.engines.llama.engine import LlamaEngine
from liveweights.engines.settings import EngineSettings
from liveweights.learn.rewards import RewardMap
from liveweights.learn.settings import LearnSettings
from liveweights.replay.asker import Manners, Reaction
from liveweights.replay.chat import Answers, Conversations, compare_answers, signals, worth
from liveweights.replay.circle import Circle
from liveweights.replay.tasks import FAMILIES, Task, choose_tasks, draw_tasks, is_right
from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.models import load_tokenizer

TASK = Task("sum", 0, "What is 1 + 1?", "2")
texts = st.one_of(st.text(max_size=12), st.sampled_from(["2", "3", "It is 2.", "It is 3."]))


@given(st.lists(texts, min_size=1, max_size=30))
def test_a_checkpoint_does_not_differ_from_itself(said: list[str]) -> None:
    tasks = tuple(islice(draw_tasks(FAMILIES, "t"), len(said)))
    answers = Answers("a", tasks, tuple(said))
    found = compare_answers(answers, answers, RewardMap())
    assert found.right.mean == found.reward.mean == 0.0
    assert found.base_right == found.last_right == sum(answers.right) / len(said)


def test_differences_by_hand() -> None:
    tasks = (TASK, TASK, Task("sum", 1, "1 + 1", "2"), Task("city", 0, "Where?", "Rome"))
    base = Answers("a", tasks, ("2", "3", "4", "Rome"))
    last = Answers("b", tasks, ("2", "2", "2", "Paris"))
    found = compare_answers(base, last, RewardMap())
    assert (found.base_right, found.last_right) == (0.5, 0.75)
    assert found.right.mean == 0.25
    assert found.right.low < 0.25 < found.right.high
    with pytest.raises(ValueError, match="same tasks"):
        compare_answers(base, Answers("b", tasks[:3], last.texts[:3]), RewardMap())


@given(texts)
def test_a_right_answer_is_worth_more_than_any_other(text: str) -> None:
    right = worth("2", TASK, RewardMap())
    assert (worth(text, TASK, RewardMap()) >= right) == is_right(text, TASK)


def test_an_answer_that_has_more_of_the_right_one_is_worth_more() -> None:
    city = Task("city", 0, "Where?", "Rome")
    assert worth("It is Romania", city, RewardMap()) > worth("It is hot", city, RewardMap())


def test_what_a_reaction_sends() -> None:
    assert signals(Reaction()) == []
    assert signals(Reaction(1, None, "Thanks!")) == [("thumbs", 1.0)]
    assert signals(Reaction(-1, "2")) == [("thumbs", -1.0), ("correction", "2")]
    assert signals(Reaction(None, "2")) == [("correction", "2")]


@pytest.mark.slow
@pytest.mark.model
def test_people_talk_and_the_checkpoint_learns(
    base: Checkpoint, model_cache: Path, tmp_path: Path
) -> None:
    async def run() -> None:
        engine = LlamaEngine(base, model_cache, EngineSettings())
        circle = Circle(engine, load_tokenizer(base), base, tmp_path, settings=LearnSettings())
        manners = Manners(thumb=0.5, edit=1.0, follow_up=1.0)
        try:
            await circle.start()
            async with Conversations(circle, manners) as people:
                said = await people.talk(draw_tasks(FAMILIES, "test"), 12)
                assert len(said.examples) == 12 == len(said.right)
                wrong = [e for e in said.examples if not said.right[e.generation.id]]
                assert wrong
                assert all(any(f.signal == "correction" for f in e.feedback) for e in wrong)
                talks = Counter(e.generation.session for e in said.examples)
                assert max(talks.values()) == people.turns
                # Every answer but the last of its conversation has a next request.
                assert len(said.follow_ups) == len(said.examples) - len(talks)
                result = await circle.turn(said.examples, follow_ups=said.follow_ups)
                assert result.report.taught > len(wrong)
                # What the next request said is a reaction of its own.
                assert result.report.roles["hindsight"] == len(said.follow_ups)
                tasks = choose_tasks(FAMILIES[:2], 2, "held out")
                answers = await people.ask(circle.live, tasks)
                assert answers.checkpoint == circle.live.id
                assert all(answers.texts)
                assert answers == await people.ask(circle.live, tasks)
        finally:
            await circle.engine.close()

    asyncio.run(run())
