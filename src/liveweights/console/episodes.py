"""Pages of episodes: all tasks, and one as a list of steps with calls and credit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec

from liveweights.console.answers import Lesson, Reaction
from liveweights.console.conversation import find_parting
from liveweights.console.cursor import PARAM, ROWS, cut_page, read_moment, read_number, write_moment
from liveweights.console.subject import Asked, Subject, missing
from liveweights.learn.conduct import find_calls
from liveweights.learn.credit import Credit, assign_credit
from liveweights.record import episodes as record
from liveweights.record.episode_listing import ListedEpisode, list_episodes
from liveweights.record.errors import TooManySteps
from liveweights.record.example import Example
from liveweights.record.feedback import Feedback
from liveweights.record.names import read_model
from liveweights.store.database import Connection
from liveweights.store.partitions import day_of

TENANT = "default"
"""Whose episode it is where nobody says."""
STEPS = 10
"""Of one page; each has texts."""
PROMPTS = "select id, prompt from answers where day = any(%s) and id = any(%s)"
LESSONS = """
select c.generation, c.cycle, c.split, t.outcome, t.candidate
from claimed c join turns t on t.id = c.cycle
where c.day = any(%s) and c.generation = any(%s) group by 1, 2, 3, 4, 5 order by 2
"""


class Episodes(msgspec.Struct, frozen=True, kw_only=True):
    """A page of a list, the last active first; ``next`` is where the next one begins, None at the
    end."""

    model: str
    episodes: tuple[ListedEpisode, ...]
    next: str | None


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """A tool call in an answer; ``name`` of None: it cannot be read."""

    name: str | None
    text: str


class Credited(msgspec.Struct, frozen=True, kw_only=True):
    """What a step is credited with: ``share`` of a ``reward`` in [-1, 1], that of the whole episode
    or of the step alone."""

    of: str
    reward: float
    share: float


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One answer of the task; ``asked`` is what its prompt has beyond that of the step before, None
    where its tokens cannot be read. ``credit`` of None: it teaches nothing."""

    number: int
    id: str
    at: datetime
    checkpoint: str
    asked: str | None
    output: str
    reasoning: str
    finish_reason: str
    calls: tuple[Call, ...]
    prompt_tokens: int
    output_tokens: int
    total_ms: float
    feedback: tuple[Reaction, ...]
    credit: Credited | None
    lessons: tuple[Lesson, ...]


class Episode(msgspec.Struct, frozen=True, kw_only=True):
    """One task of a tenant: ``count`` steps, a page of them in the order in which they were asked
    for, and what was said of the whole. ``credit`` is how outcomes are shared out ([learn] credit);
    None: its model does not learn here."""

    model: str
    name: str
    tenant: str
    began: datetime
    ended: datetime
    count: int
    tokens: int
    calls: int
    credit: str | None
    outcomes: tuple[Reaction, ...]
    steps: tuple[Step, ...]
    next: str | None


async def read_episodes(conn: Connection, subject: Subject, asked: Asked) -> Episodes:
    """GET /episodes and GET /episodes.json. Raises ApiError 400."""
    before = read_moment(asked.get(PARAM))
    tenant = asked.tenant or asked.get("tenant")
    one_more = await list_episodes(conn, asked.model, ROWS + 1, tenant=tenant, before=before)
    shown, following = cut_page(one_more, ROWS, lambda one: write_moment(one.ended, one.last))
    return Episodes(model=asked.model, episodes=shown, next=following)


async def read_episode(conn: Connection, subject: Subject, asked: Asked) -> Episode:
    """GET /episodes/NAME and GET /episodes/NAME.json. Raises ApiError 400, 404."""
    tenant = asked.tenant or asked.get("tenant") or TENANT
    try:
        task = await record.read_episode(conn, tenant, asked.id)
    except TooManySteps as error:
        raise missing(f"It cannot be shown: {error}.") from None
    if task is None:
        raise missing(f"The tenant {tenant[:128]!r} has no episode {asked.id[:128]!r} on record.")
    examples = task.steps
    answers = [one.generation for one in examples]
    model = await read_model(conn, answers[0].alias)
    worker = subject.workers.get(model)
    credits = assign_credit(examples, worker.rewards, worker.learn) if worker else []
    passed = read_number(asked.get(PARAM)) or 0
    page = examples[passed : passed + STEPS + 1]
    shown, following = cut_page(page, STEPS, lambda _: str(passed + STEPS))
    return Episode(
        model=model,
        name=asked.id,
        tenant=tenant,
        began=answers[0].created_at,
        ended=answers[-1].completed_at,
        count=len(answers),
        tokens=sum(_output_tokens(one) for one in examples),
        calls=sum(len(find_calls(one.output)) for one in answers),
        credit=worker.learn.credit if worker else None,
        outcomes=tuple(_reaction(f, f.id.removesuffix(f"/{f.generation}")) for f in task.said()),
        steps=await _steps(conn, examples, shown, passed, credits),
        next=following,
    )


async def _steps(
    conn: Connection,
    examples: Sequence[Example],
    shown: Sequence[Example],
    passed: int,
    credits: Sequence[Credit],
) -> tuple[Step, ...]:
    # The one before tells what is new in the first prompt of the page.
    ids = [one.generation.id for one in examples[max(0, passed - 1) : passed + len(shown)]]
    which = (sorted({day_of(id) for id in ids}), ids)
    cursor = await conn.execute(PROMPTS, which)
    prompts: dict[str, str | None] = dict(await cursor.fetchall())
    cursor = await conn.execute(LESSONS, which)
    lessons: dict[str, list[Lesson]] = {}
    for id, cycle, split, outcome, candidate in await cursor.fetchall():
        lesson = Lesson(cycle=cycle, use=split, outcome=outcome, candidate=candidate)
        lessons.setdefault(id, []).append(lesson)
    credited = {one.example.generation.id: one for one in credits}
    steps: list[Step] = []
    for place, example in enumerate(shown, passed):
        before = examples[place - 1].generation.id if place else None
        steps.append(_step(place, example, credited, lessons, _new(prompts, example, before)))
    return tuple(steps)


def _step(
    place: int,
    example: Example,
    credited: Mapping[str, Credit],
    lessons: Mapping[str, list[Lesson]],
    asked: str | None,
) -> Step:
    g = example.generation
    credit = credited.get(g.id)
    return Step(
        number=place + 1,
        id=g.id,
        at=g.created_at,
        checkpoint=g.checkpoint,
        asked=asked,
        output=g.output,
        reasoning=g.reasoning,
        finish_reason=g.finish_reason,
        calls=tuple(Call(name=call.name, text=call.text) for call in find_calls(g.output)),
        prompt_tokens=g.usage["prompt_tokens"],
        output_tokens=_output_tokens(example),
        total_ms=g.total_ms,
        feedback=tuple(_reaction(f, f.id) for f in example.feedback if f.episode is None),
        credit=None
        if credit is None
        else Credited(
            of="step" if credit.task == g.id else "episode",
            reward=credit.reward.value,
            share=credit.share,
        ),
        lessons=tuple(lessons.get(g.id, ())),
    )


def _new(prompts: Mapping[str, str | None], example: Example, before: str | None) -> str | None:
    """What a prompt has beyond the one before: the answer that came back, and what a tool or a user
    said to it."""
    prompt = prompts.get(example.generation.id)
    earlier = prompts.get(before) if before else None
    if prompt is None or earlier is None:
        return prompt
    return prompt[find_parting(prompt, earlier) :]


def _output_tokens(example: Example) -> int:
    return example.generation.usage["completion_tokens"]


def _reaction(f: Feedback, id: str) -> Reaction:
    return Reaction(id=id, signal=f.signal, value=f.value, text=f.text, received_at=f.received_at)
