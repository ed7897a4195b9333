"""The prompts that a cycle's candidate is judged on: its own, and those of earlier cycles.

Rows that were held back stay so, and judge every later candidate as well: the more cases, the
smaller the improvement that a gate can see. An incumbent was chosen partly for its answers to the
earlier ones, so they favour it if anything.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import date

from liveweights.catalog.template import TemplateSettings
from liveweights.cycle.bases import read_switch
from liveweights.cycle.ledger import Cycle
from liveweights.cycle.settings import WorkerSettings
from liveweights.cycle.translation import translate
from liveweights.gate.calibration import may_say_nothing
from liveweights.gate.cases import (
    CYCLES,
    count_wanted,
    in_sessions,
    is_held_back,
    list_cases,
    list_chats,
)
from liveweights.gate.scoring import Case
from liveweights.gate.suites import heldback, suite
from liveweights.learn.rewards import RewardMap
from liveweights.learn.settings import LearnSettings
from liveweights.learn.voters import find_voters, user_of
from liveweights.record.example import Example, find_episodes
from liveweights.record.generation import Generation
from liveweights.record.window import (
    count_earlier,
    list_held_back,
    read,
    read_held_back,
    read_listed,
    read_unjudged,
)
from liveweights.release.ancestry import root_of
from liveweights.store.database import Connection

LOOKED_AT = 8
"""So many unjudged completions are looked at for each that is wanted."""
CHATS = 2
"""So many times ``gate.min_answers`` chats are asked."""
PAGE = 400
"""Held-back rows that are read at a time."""


async def read_cases(
    conn: Connection, cycle: Cycle, settings: WorkerSettings, *, silence: bool
) -> list[tuple[Case, Generation]]:
    """Of the last cycles first, as many as the gate asks (see `count_wanted`); and as far as these
    do not reach ``gate.cases`` completions that nobody reacted to: of them it is known what either
    would say, if not what it is worth. Those that were answered on another base than the
    candidate's are asked in words. ``silence``: the candidate may learn when to say nothing."""
    learn, gate = settings.learn, settings.gate
    base = await _read_base(conn, cycle)
    examples, wanted = await _read_judged(conn, cycle, base, settings, silence)
    answers = [example.generation for example in examples]
    users = {(answer.tenant, answer.user) for answer in answers if answer.user}
    earlier = await read_earlier(conn, cycle, learn, users)
    voters = find_voters(answers, earlier, learn.known_votes)
    cases = list_cases(examples, learn.held_back_share, settings.rewards, voters)[:wanted]
    if (left := gate.cases - len(cases)) > 0:
        others = await read_unjudged(conn, cycle.alias, cycle.id, LOOKED_AT * left)
        others = await translate(conn, others[::-1], base, settings.template)
        cases += list_cases(others, learn.held_back_share, settings.rewards)[:left]
    return in_sessions(cases)


async def _read_judged(
    conn: Connection, cycle: Cycle, base: str, settings: WorkerSettings, silence: bool
) -> tuple[list[Example], int]:
    """Completions that were held back, newest first, until there are cases enough among them; and
    how many cases that is."""
    held_back = await list_held_back(
        conn, cycle.alias, cycle.id, cycles=CYCLES, endpoint="completion"
    )
    examples: list[Example] = []
    wanted = settings.gate.cases
    for place in range(0, len(held_back), PAGE):
        listed = held_back[place : place + PAGE]
        examples += await _read_page(conn, cycle, listed, base, template=settings.template)
        cases = list_cases(examples, settings.learn.held_back_share, settings.rewards)
        learns = silence and may_say_nothing([case for case, _ in cases], settings.learn)
        wanted = count_wanted(cases, settings.gate, silence=learns)
        if len(cases) >= wanted:
            break
    return examples, wanted


async def read_chats(
    conn: Connection, cycle: Cycle, settings: WorkerSettings
) -> list[tuple[Case, Generation]]:
    """Of the last cycles first, chats that both are asked again for how they answer, where that is
    known in tokens of the candidate's base."""
    wanted = min(settings.gate.cases, CHATS * settings.gate.min_answers)
    held_back = await list_held_back(conn, cycle.alias, cycle.id, cycles=CYCLES, endpoint="chat")
    base = await _read_base(conn, cycle)
    chats: list[tuple[Case, Generation]] = []
    examples: list[Example] = []
    for place in range(0, len(held_back), PAGE):
        listed = held_back[place : place + PAGE]
        examples += await _read_page(conn, cycle, listed, base, template=settings.template)
        chats = list_chats(examples, settings.learn.held_back_share)
        if len(chats) >= wanted:
            break
    return in_sessions(chats[:wanted])


async def _read_page(
    conn: Connection,
    cycle: Cycle,
    listed: Sequence[tuple[date, str]],
    base: str,
    *,
    template: TemplateSettings,
) -> list[Example]:
    """In their order, and in words where another base answered."""
    page = await read_listed(conn, cycle.id, listed)
    order = {id: rank for rank, (_, id) in enumerate(listed)}
    page.sort(key=lambda example: order[example.generation.id])
    return await translate(conn, page, base, template)


async def read_suite(
    conn: Connection,
    alias: str,
    cycle: int,
    checkpoints: Collection[str],
    *,
    share: float,
    rewards: RewardMap,
    template: TemplateSettings,
) -> list[suite.Case]:
    """Cases of the suite "held-back" that can be put to all of ``checkpoints``: of what the cycle
    of the alias held back, did not leave out, and would hold back at ``share`` of the sessions.
    What another base answered than the one that all build on is asked in words; everything, where
    they share none."""
    examples = await read_held_back(conn, alias, cycle, cycles=1)
    examples = [one for one in examples if is_held_back(one.generation, share)]
    roots = {await root_of(conn, one) for one in checkpoints}
    shared = roots.pop() if len(roots) == 1 else None
    told = await translate(conn, examples, shared or "", template)
    return heldback.read_cases(told, rewards)


async def has_episodes(conn: Connection, cycle: Cycle) -> bool:
    """Whether the cycle learnt from whole episodes, or held some back."""
    if (cycle.learning or {}).get("conduct") is not None:
        return True
    return bool(find_episodes(await read(conn, cycle.id, "held_back")))


async def _read_base(conn: Connection, cycle: Cycle) -> str:
    """The base that the cycle's candidate is on."""
    switch = read_switch(cycle)
    return switch.base if switch else await root_of(conn, cycle.incumbent) or cycle.incumbent


async def read_earlier(
    conn: Connection,
    cycle: Cycle,
    settings: LearnSettings,
    users: Collection[tuple[str, str]] | None = None,
) -> dict[str, int]:
    """Votes of earlier cycles, as far as they make known, by user (`voters.user_of`); see
    `count_earlier`."""
    earlier = await count_earlier(conn, cycle.id, cycle.alias, settings.known_votes, users=users)
    return {user_of(*who): count for who, count in earlier.items()}
