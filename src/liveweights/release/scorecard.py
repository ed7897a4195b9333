"""Did a checkpoint improve things, for whom, by how much, on what evidence, at what cost?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import msgspec
import numpy as np

from liveweights.gate.distributions import student_quantile
from liveweights.gate.statistics import clustered_error, group
from liveweights.learn.rewards import RewardMap
from liveweights.record.answers import JudgedAnswer, iter_answers
from liveweights.release.audience import Audience, count_audience
from liveweights.release.claim import Improved, Shown, conclude
from liveweights.release.earnings import Earnings
from liveweights.store.database import Connection
from liveweights.weights.registry import NotRegistered

DIMENSIONS = ("surface", "language", "tenant")
FEWEST = 10
"""Rewards of either side below which a segment is not a line of its own."""


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """What one checkpoint's answers came to. ``accepted`` is of those that anybody judged."""

    answers: int
    rewards: int
    sessions: int
    reward: float | None
    accepted: float | None
    silent: float | None
    seconds: float | None
    """Median time of an answer."""


class Segment(msgspec.Struct, frozen=True, kw_only=True):
    """Candidate against incumbent on the live traffic that both had at the same time.

    ``low`` and ``high`` bound the difference of mean rewards; sessions are the independent cases.
    The segments of one dimension share the error rate (Bonferroni).
    """

    dimension: str
    value: str
    candidate: Side
    incumbent: Side
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    confidence: float

    @property
    def shown(self) -> Shown:
        return Shown(
            difference=self.difference,
            low=self.low,
            high=self.high,
            confidence=self.confidence,
            sessions=(self.candidate.sessions, self.incumbent.sessions),
        )

    @property
    def improved(self) -> Improved:
        if self.low is None or self.high is None:
            return "not shown"
        return "yes" if self.low > 0 else "no" if self.high < 0 else "not shown"


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One change of an alias that brought, moved or took the checkpoint."""

    alias: str
    action: str
    checkpoint: str
    previous: str | None
    share: float | None
    reason: str
    at: datetime


class Scorecard(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is known of a checkpoint's effect; `improved` sums it up."""

    checkpoint: str
    alias: str | None
    parent: str | None
    incumbent: str | None
    created_at: datetime
    cycle: int | None
    outcome: str | None
    reason: str | None
    withdrawn: bool
    improved: Improved
    summary: str
    gate: dict[str, Any] | None
    live: tuple[Segment, ...]
    guards: tuple[dict[str, Any], ...]
    exposed: Audience | None
    evidence: dict[str, Any]
    cost: dict[str, float]
    releases: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """One answer as segments see it."""

    candidate: bool
    session: str
    reward: float | None
    accepted: bool | None
    silent: bool
    seconds: float
    labels: dict[str, str]


class Rows:
    """Answers that were given in full, with what they earned; they are told one by one."""

    def __init__(self, candidate: str, rewards: RewardMap) -> None:
        self._candidate = candidate
        self._earnings = Earnings(rewards)
        self._rows: list[Row | None] = []
        self._labels: dict[tuple[str, ...], dict[str, str]] = {}

    def add(self, one: JudgedAnswer) -> None:
        self._earnings.add(one)
        if one.failed or one.cancelled:
            self._rows.append(None)
            return
        clicks = [f.signal for f in one.feedback if f.signal in ("accepted", "rejected")]
        labels = {name: getattr(one, name) for name in DIMENSIONS}
        self._rows.append(
            Row(
                candidate=one.checkpoint == self._candidate,
                session=one.session or one.id,
                reward=None,
                accepted=clicks[-1] == "accepted" if clicks else None,
                silent=not one.output.strip(),
                seconds=one.total_ms / 1000,
                labels=self._labels.setdefault(tuple(labels.values()), labels),
            )
        )

    def conclude(self) -> list[Row]:
        return [
            replace(row, reward=worth.value) if worth else row
            for row, worth in zip(self._rows, self._earnings.conclude(), strict=True)
            if row is not None
        ]


def compare_segments(rows: Sequence[Row], confidence: float = 0.95) -> tuple[Segment, ...]:
    """Everyone first, then each surface, language and tenant that has enough rewards."""
    segments = [compare("all", "", rows, confidence)]
    for name in DIMENSIONS:
        parts: dict[str, list[Row]] = {}
        for row in rows:
            parts.setdefault(row.labels[name], []).append(row)
        enough = {value: part for value, part in parts.items() if value and _is_enough(part)}
        if len(parts) < 2:
            continue  # the same as everyone
        shared = 1 - (1 - confidence) / max(1, len(enough))
        segments += [compare(name, value, enough[value], shared) for value in sorted(enough)]
    return tuple(segments)


def compare(dimension: str, value: str, rows: Sequence[Row], confidence: float) -> Segment:
    """Difference of two independent clustered means (Welch): the standard errors of the sides add
    in squares, Student's t has one degree of freedom fewer than the smaller side has sessions."""
    ours = [row for row in rows if row.candidate]
    theirs = [row for row in rows if not row.candidate]
    left, right = _side(ours), _side(theirs)
    low = high = difference = None
    if left.reward is not None and right.reward is not None:
        difference = left.reward - right.reward
        our_error, their_error = _error(ours), _error(theirs)
        freedom = min(left.sessions, right.sessions) - 1
        if our_error is not None and their_error is not None and freedom >= 1:
            reach = student_quantile(0.5 + confidence / 2, freedom) * math.hypot(
                our_error, their_error
            )
            low, high = difference - reach, difference + reach
    return Segment(
        dimension=dimension,
        value=value,
        candidate=left,
        incumbent=right,
        difference=difference,
        low=low,
        high=high,
        confidence=confidence,
    )


async def read_scorecard(
    conn: Connection, checkpoint_id: str, rewards: Mapping[str, RewardMap]
) -> Scorecard:
    """Gather everything about a checkpoint; ``rewards`` are by alias. Raises NotRegistered.

    Reads the answers of its canary's time, and counts whom it ever answered.
    """
    cursor = await conn.execute(
        "select k.parent, k.created_at, c.id, c.alias, c.outcome, c.reason, c.incumbent,"
        " c.withdrawn_at is not null, c.verdict, c.canary, c.learning,"
        " extract(epoch from coalesce(c.ended_at, now()) - c.started_at)"
        " from ancestry k left join lateral ("
        "  select * from turns where candidate = k.id order by id limit 1) c on true"
        " where k.id = %s",
        (checkpoint_id,),
    )
    row = await cursor.fetchone()
    if row is None:
        raise NotRegistered(f"no checkpoint {checkpoint_id!r} is registered")
    parent, created, cycle, alias, outcome, reason, incumbent, withdrawn = row[:8]
    gate, canary, learning, seconds = row[8:]
    releases = await _releases(conn, checkpoint_id)
    alias = alias or next((one.alias for one in releases), None)
    spans = _canary_span(releases, checkpoint_id)
    live: tuple[Segment, ...] = ()
    if spans and alias and incumbent:
        since, until = spans
        rows = Rows(checkpoint_id, rewards.get(alias, RewardMap()))
        both = [checkpoint_id, incumbent]
        async with aclosing(iter_answers(conn, alias, both, since, until=until)) as read:
            async for one in read:
                rows.add(one)
        live = compare_segments(rows.conclude())
    improved, summary = conclude(live[0].shown if live else None, gate)
    report: dict[str, Any] = learning or {}
    cost: dict[str, float] = {}
    if cycle is not None:
        cost["cycle_seconds"] = float(seconds)
    if "seconds" in report:
        cost["learning_seconds"] = float(report["seconds"])
    if spans:
        end = spans[1] or datetime.now(created.tzinfo)
        cost["canary_seconds"] = (end - spans[0]).total_seconds()
    return Scorecard(
        checkpoint=checkpoint_id,
        alias=alias,
        parent=parent,
        incumbent=incumbent,
        created_at=created,
        cycle=cycle,
        outcome=outcome,
        reason=reason,
        withdrawn=bool(withdrawn),
        improved=improved,
        summary=summary,
        gate=gate,
        live=live,
        guards=tuple((canary or {}).get("guards", ())),
        exposed=await count_audience(conn, alias, checkpoint_id) if alias else None,
        evidence=await _evidence(conn, cycle) | {"signals": report.get("signals", {})},
        cost=cost,
        releases=tuple(releases),
    )


async def read_history(conn: Connection, alias: str) -> list[str]:
    """Every checkpoint that the alias ever had or tried, in the order of the first time."""
    cursor = await conn.execute(
        "select checkpoint from releases where alias = %s group by checkpoint order by min(id)",
        (alias,),
    )
    return [checkpoint for (checkpoint,) in await cursor.fetchall()]


async def _releases(conn: Connection, checkpoint: str) -> list[Entry]:
    cursor = await conn.execute(
        "select alias, action, checkpoint, previous, share, reason, at from releases"
        " where checkpoint = %(id)s or (previous = %(id)s and action = 'rollback') order by id",
        {"id": checkpoint},
    )
    names = Entry.__struct_fields__
    return [Entry(**dict(zip(names, row, strict=True))) for row in await cursor.fetchall()]


def _canary_span(
    releases: Sequence[Entry], checkpoint: str
) -> tuple[datetime, datetime | None] | None:
    """From the first session on the canary to its promotion or abort (None: it runs)."""
    shown = next((r.at for r in releases if r.action in ("canary", "step") and r.share), None)
    if shown is None:
        return None
    ended = next(
        (
            r.at
            for r in releases
            if r.action in ("promote", "abort") and r.checkpoint == checkpoint and r.at >= shown
        ),
        None,
    )
    return shown, ended


async def _evidence(conn: Connection, cycle: int | None) -> dict[str, Any]:
    cursor = await conn.execute(
        "select count(distinct generation) filter (where split = 'train'),"
        " count(distinct generation) filter (where split = 'held_back'),"
        " count(distinct feedback) from claimed where cycle = %s",
        (cycle,),
    )
    row = await cursor.fetchone()
    assert row is not None
    return {"learnt_from": row[0], "judged_on": row[1], "feedback": row[2]}


def _is_enough(rows: Sequence[Row]) -> bool:
    judged = [row.candidate for row in rows if row.reward is not None]
    return min(sum(judged), len(judged) - sum(judged)) >= FEWEST


def _side(rows: Sequence[Row]) -> Side:
    earned = [row for row in rows if row.reward is not None]
    clicked = [row.accepted for row in rows if row.accepted is not None]
    return Side(
        answers=len(rows),
        rewards=len(earned),
        sessions=len({row.session for row in earned}),
        reward=sum(row.reward or 0.0 for row in earned) / len(earned) if earned else None,
        accepted=sum(clicked) / len(clicked) if clicked else None,
        silent=sum(row.silent for row in rows) / len(rows) if rows else None,
        seconds=float(np.median([row.seconds for row in rows])) if rows else None,
    )


def _error(rows: Sequence[Row]) -> float | None:
    earned = [row for row in rows if row.reward is not None]
    values = np.array([row.reward for row in earned], dtype=np.float64)
    return clustered_error(values, group([row.session for row in earned], len(earned)))
