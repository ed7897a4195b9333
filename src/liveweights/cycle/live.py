"""What live traffic says of a canary: read from the record, judged, and acted upon."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from liveweights.gate.settings import GateSettings
from liveweights.learn.rewards import RewardMap
from liveweights.record.answers import iter_answers
from liveweights.record.shadow import Outcome, iter_shadows
from liveweights.release import canaries, moves
from liveweights.release.alias import Alias
from liveweights.release.audience import read_crowd
from liveweights.release.canary import Arm, Reward, compare_arms
from liveweights.release.course import Course, read_course
from liveweights.release.decision import Look, decide, decide_by_rewards
from liveweights.release.deployments import ready
from liveweights.release.earnings import Earnings
from liveweights.release.guards import Answer, Answers, pair, watch_answers
from liveweights.release.rollout import Move, Rollout, apply, begin, first_step, locate, shares
from liveweights.release.settings import CanarySettings
from liveweights.store.database import Connection


@dataclass(frozen=True, slots=True)
class Evidence:
    """Answers and rewards of both arms, in seconds since ``Course.shown`` (or ``began``).

    ``unservable`` says why no instance can load the candidate, None where one does or may."""

    alias: Alias
    course: Course
    answers: Answers
    rewards: list[Reward]
    step_rewards: int
    step_seconds: float
    unservable: str | None = None


@dataclass(frozen=True, slots=True)
class Judged:
    """Where the candidate stands, what is known of it, and what happens next."""

    rollout: Rollout
    look: Look
    move: Move


async def read_evidence(conn: Connection, alias: Alias, rewards: RewardMap) -> Evidence:
    """What is known of the alias's canary now. Raises LookupError where there is none."""
    if alias.canary is None:
        raise LookupError(f"{alias.name!r} has no canary")
    course = await read_course(conn, alias.name, alias.canary)
    stepped = alias.stepped_at or course.began
    step_seconds = (course.now - stepped).total_seconds()
    unservable = (await ready(conn, alias.canary)).unservable
    if course.shown is None:
        answers = await _shadow_answers(conn, alias, course.began)
        return Evidence(alias, course, answers, [], len(answers) // 2, step_seconds, unservable)
    answers, earned, since = await _live_answers(
        conn, alias, course.shown, rewards=rewards, stepped=stepped
    )
    return Evidence(alias, course, answers, earned, since, step_seconds, unservable)


def judge(evidence: Evidence, settings: CanarySettings, gate: GateSettings) -> Judged:
    """Pure, and a matter of milliseconds to a second: call it in a thread."""
    alias, course = evidence.alias, evidence.course
    now = (course.now - (course.shown or course.began)).total_seconds()
    # What is drawn answer by answer is compared answer by answer.
    units = msgspec.structs.replace(settings, unit="reward") if alias.by_answer else settings
    look = Look(
        comparison=compare_arms(evidence.rewards, now, units, seconds=course.seconds),
        guards=watch_answers(evidence.answers, now, units, gate),
        step_rewards=evidence.step_rewards,
        step_seconds=evidence.step_seconds,
        unservable=evidence.unservable,
    )
    rollout = locate(alias.share, alias.shadow, alias.held, settings)
    return Judged(rollout, look, decide(rollout, look, settings))


async def weigh(
    conn: Connection,
    alias: Alias,
    *,
    rewards: RewardMap,
    canary: CanarySettings,
    gate: GateSettings,
) -> Judged:
    """Where the alias's canary stands now, what is known of it, and what it does next. Raises
    LookupError where there is none."""
    evidence = await read_evidence(conn, alias, rewards)
    return await asyncio.to_thread(judge, evidence, canary, gate)


def describe(look: Look, settings: CanarySettings) -> dict[str, Any]:
    """What is stored of a look with the release that it made."""
    return {
        **msgspec.to_builtins(decide_by_rewards(look.comparison, settings)),
        "guards": [{**msgspec.to_builtins(g), "broken": g.broken} for g in look.guards],
    }


async def start(
    conn: Connection,
    alias: str,
    candidate: str,
    settings: CanarySettings,
    *,
    cycle: int,
    reason: str,
    evidence: dict[str, Any] | None = None,
    across: bool = False,
) -> Alias:
    """Try a checkpoint, ``across`` also one on another base: on the first share of the traffic, or
    in its shadow. Where sessions are few the share is of answers."""
    crowd = await read_crowd(conn, alias, settings.max_seconds)
    few = crowd.sessions < settings.few_sessions
    first = begin(settings, first_step(crowd, settings) if few else 0)
    share, shadow = shares(first, settings)
    return await canaries.start_canary(
        conn,
        alias,
        candidate,
        share,
        shadow=shadow,
        by_answer=few,
        cycle=cycle,
        reason=reason,
        evidence=evidence,
        across=across,
    )


async def act(
    conn: Connection,
    alias: Alias,
    move: Move,
    settings: CanarySettings,
    *,
    cycle: int | None,
    evidence: dict[str, Any],
) -> Alias:
    """Carry a move out on the alias as it was read.

    Raises StaleVersion where somebody changed it since, and IllegalMove.
    """
    assert alias.canary is not None
    before = locate(alias.share, alias.shadow, alias.held, settings)
    after = apply(before, move.action, settings)
    how: dict[str, Any] = {"cycle": cycle, "reason": move.reason, "version": alias.version}
    match move.action:
        case "wait":
            return alias
        case "step":
            share, shadow = shares(after, settings)
            return await canaries.start_canary(
                conn, alias.name, alias.canary, share, shadow=shadow, evidence=evidence, **how
            )
        case "hold" | "resume":
            return await canaries.hold_canary(
                conn, alias.name, after.held, cycle=cycle, reason=move.reason
            )
        case "promote":
            return await moves.promote(conn, alias.name, alias.canary, evidence=evidence, **how)
        case "rollback":
            return await canaries.abort_canary(
                conn, alias.name, checkpoint=alias.canary, evidence=evidence, **how
            )


async def _live_answers(
    conn: Connection, alias: Alias, since: datetime, *, rewards: RewardMap, stepped: datetime
) -> tuple[Answers, list[Reward], int]:
    """All answers of both arms since then, what they earned, and the canary's rewards since
    ``stepped``."""
    arms: dict[str, Arm] = {alias.live: "live"}
    if alias.canary:
        arms[alias.canary] = "canary"
    answers, earnings = Answers(), Earnings(rewards)
    async with aclosing(iter_answers(conn, alias.name, list(arms), since)) as read:
        async for one in read:
            arm, at = arms[one.checkpoint], (one.created_at - since).total_seconds()
            took = one.total_ms / 1000
            answers.add(Answer(arm, one.session, at, one.failed, one.cancelled, took, one.output))
            earnings.add(one)
    earned: list[Reward] = []
    in_step, step_began = 0, (stepped - since).total_seconds()
    for place, worth in enumerate(earnings.conclude()):
        if worth is not None:
            heard = (worth.at - since).total_seconds()
            reward = answers.earned(place, worth.value, heard)
            earned.append(reward)
            in_step += reward.arm == "canary" and reward.at >= step_began
    return answers, earned, in_step


async def _shadow_answers(conn: Connection, alias: Alias, since: datetime) -> Answers:
    assert alias.canary is not None
    answers = Answers()
    async with aclosing(iter_shadows(conn, alias.name, alias.canary, since)) as read:
        async for shadow in read:
            seconds = (shadow.at - since).total_seconds()
            served = _answer("live", shadow.served, seconds)
            for answer in pair(served, _answer("canary", shadow.shadow, seconds)):
                answers.add(answer)
    return answers


def _answer(arm: Arm, outcome: Outcome, seconds: float) -> Answer:
    return Answer(
        arm, None, seconds, outcome.failed, False, outcome.total_ms / 1000, outcome.output
    )
