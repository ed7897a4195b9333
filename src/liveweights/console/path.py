"""The path that leads from an answer to what made it, and back."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from urllib.parse import quote, urlencode

import msgspec

from liveweights.release.history import rollback_targets
from liveweights.store.database import Connection
from liveweights.store.partitions import day_of

EXCERPT = 60
"""Characters of an answer."""

Name = Literal["answer", "checkpoint", "cycle", "feedback", "verdict", "release", "rollback"]


class Station(msgspec.Struct, frozen=True, kw_only=True):
    """One thing on the path, what it was, and the address that tells more; None where there is
    nothing to tell."""

    name: Name
    text: str
    href: str | None = None
    at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known of a ``checkpoint`` of ``alias``: the cycle that made it (None: it was
    brought), what that read and found, its last release, and what its alias has now. ``words`` are
    the first of the ``answer``, None where they were removed."""

    alias: str
    checkpoint: str
    answer: str | None = None
    answered_at: datetime | None = None
    words: str | None = None
    cycle: int | None = None
    outcome: str | None = None
    ended_at: datetime | None = None
    learnt_from: int = 0
    judged_on: int = 0
    feedback: int = 0
    verdict: str | None = None
    reasons: tuple[str, ...] = ()
    action: str | None = None
    reason: str | None = None
    released_at: datetime | None = None
    live: str | None = None
    canary: str | None = None
    target: str | None = None


def describe(facts: Facts) -> tuple[Station, ...]:
    """The seven stations, in the order in which they are walked."""
    page = None if facts.cycle is None else f"/cycles/{facts.cycle}"
    made = (
        f"cycle {facts.cycle}: {_words(facts.outcome or 'open')}"
        if page
        else "no cycle made it: it is a base, or was brought"
    )
    verdict = f"{facts.verdict}: {'; '.join(facts.reasons)}" if facts.verdict else "none yet"
    release = f"{_words(facts.action)}: {facts.reason}" if facts.action else "never released"
    alias = urlencode({"model": facts.alias})
    back = _way_back(facts)
    return (
        Station(
            name="answer",
            text=_answer(facts),
            href=f"/answers/{quote(facts.answer)}" if facts.answer else None,
            at=facts.answered_at,
        ),
        Station(
            name="checkpoint",
            text=facts.checkpoint,
            href=f"/checkpoints/{quote(facts.checkpoint)}",
        ),
        Station(name="cycle", text=made, href=page, at=facts.ended_at),
        Station(
            name="feedback",
            text=_feedback(facts) if page else "none",
            href=f"{page}#feedback" if page else None,
        ),
        Station(
            name="verdict", text=verdict, href=f"{page}#verdict" if page and facts.verdict else None
        ),
        Station(
            name="release",
            text=release,
            href=f"/releases?{alias}" if facts.action else None,
            at=facts.released_at,
        ),
        Station(
            name="rollback", text=back, href=f"/releases?{alias}#go-back" if facts.live else None
        ),
    )


def _answer(facts: Facts) -> str:
    if facts.answer is None:
        return "it has not answered yet"
    if facts.words is None:
        return facts.answer
    return " ".join(facts.words.split()) or "it said nothing"


def _feedback(facts: Facts) -> str:
    return (
        f"{facts.feedback} reactions: learnt from {facts.learnt_from} answers,"
        f" judged on {facts.judged_on} others"
    )


def _way_back(facts: Facts) -> str:
    if facts.checkpoint == facts.canary:
        return f"it is the canary; {facts.live} is live"
    if facts.checkpoint != facts.live:
        return f"not live; {facts.live} is" if facts.live else "not live"
    return f"return to {facts.target}" if facts.target else "live; nothing to go back to"


def _words(name: str | None) -> str:
    return (name or "").replace("_", " ")


MADE = """
select t.id, t.outcome, t.ended_at, t.verdict,
    count(distinct c.generation) filter (where c.split = 'train'),
    count(distinct c.generation) filter (where c.split = 'held_back'),
    count(distinct c.feedback)
from (
    -- A later cycle that learnt the same bits again did not make this checkpoint.
    select id, outcome, ended_at, verdict from turns where candidate = %s order by id limit 1
) t left join claimed c on c.cycle = t.id
group by t.id, t.outcome, t.ended_at, t.verdict
"""
RELEASED = """
select action, reason, at from swaps where alias = %s and checkpoint = %s
and action in ('create', 'canary', 'step', 'promote', 'abort', 'rollback', 'switch')
order by id desc limit 1
"""
ANSWERED = """
-- The hour is known from the counts: what was replaced long ago is not looked for among all since.
select id, created_at from recorded
where alias = %(alias)s and checkpoint = %(id)s
    and created_at >= (
        select max(bucket) from counted
        where whole and width = 60 and alias = %(alias)s and checkpoint = %(id)s)
    and created_at < (
        select max(bucket) + interval '1 hour' from counted
        where whole and width = 60 and alias = %(alias)s and checkpoint = %(id)s)
order by created_at desc limit 1
"""


WORDS = f"select left(output, {EXCERPT}) from answers where day = %s and id = %s"


async def read_path(
    conn: Connection, alias: str, checkpoint: str, answer: tuple[str, datetime] | None = None
) -> tuple[Station, ...]:
    """The path through ``checkpoint``, from one answer, else from its newest one as ``alias``."""
    if answer is None:
        cursor = await conn.execute(ANSWERED, {"alias": alias, "id": checkpoint})
        answer = await cursor.fetchone()
    words = None
    if answer is not None:
        cursor = await conn.execute(WORDS.encode(), (day_of(answer[0]), answer[0]))
        words = await cursor.fetchone()
    made = await (await conn.execute(MADE, (checkpoint,))).fetchone()
    cycle, outcome, ended, verdict, learnt_from, judged_on, feedback = made or (None,) * 7
    gate: dict[str, Any] = verdict or {}
    released = await (await conn.execute(RELEASED, (alias, checkpoint))).fetchone()
    action, reason, at = released or (None, None, None)
    cursor = await conn.execute("select live, canary from standing where alias = %s", (alias,))
    live, canary = await cursor.fetchone() or (None, None)
    targets = await rollback_targets(conn, alias) if checkpoint == live else []
    return describe(
        Facts(
            alias=alias,
            checkpoint=checkpoint,
            answer=answer[0] if answer else None,
            answered_at=answer[1] if answer else None,
            words=words[0] if words else None,
            cycle=cycle,
            outcome=outcome,
            ended_at=ended,
            learnt_from=learnt_from or 0,
            judged_on=judged_on or 0,
            feedback=feedback or 0,
            verdict=gate.get("outcome"),
            reasons=tuple(gate.get("reasons", ())),
            action=action,
            reason=reason,
            released_at=at,
            live=live,
            canary=canary,
            target=next(iter(targets), None),
        )
    )
