"""The first page: the circle as it stands, the path through it, and what users take."""

from __future__ import annotations

from datetime import datetime

import msgspec

from liveweights.console.circle import Circle, read_circle
from liveweights.console.path import Station, read_path
from liveweights.console.subject import Asked, Subject
from liveweights.gate.statistics import wilson
from liveweights.insight import questions
from liveweights.insight.window import make_window
from liveweights.insight.worths import Worths
from liveweights.learn.rewards import RewardMap
from liveweights.store.database import Connection

SINCE = "7d"
SHOWN = 8
"""Checkpoints whose rates are shown, those that answered last."""


class Rate(msgspec.Struct, frozen=True, kw_only=True):
    """The answers of a checkpoint that were clicked on, in the shown days: the share that was
    taken, and both ends of its 95% interval (Wilson's)."""

    checkpoint: str
    answers: int
    accepted: int
    rejected: int
    rate: float | None
    low: float
    high: float


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """The same of one hour."""

    at: datetime
    checkpoint: str
    accepted: int
    rejected: int
    rate: float | None


class Home(msgspec.Struct, frozen=True, kw_only=True):
    """``rates`` begin with the checkpoint that answered last; ``points`` are of the same ones."""

    circle: Circle
    path: tuple[Station, ...]
    rates: tuple[Rate, ...]
    points: tuple[Point, ...]


async def read_home(conn: Connection, subject: Subject, asked: Asked) -> Home:
    """GET / and GET /home.json"""
    circle = await read_circle(conn, subject, asked.model)
    window = make_window(SINCE, step="1h", alias=asked.model)
    worths = Worths(RewardMap(), subject.rewards)
    buckets = await questions.accept_rate(conn, window, worths, by="checkpoint")
    rates = sum_up(buckets)
    shown = {rate.checkpoint for rate in rates}
    through = circle.live or (rates[0].checkpoint if rates else None)
    return Home(
        circle=circle,
        path=await read_path(conn, asked.model, through) if through else (),
        rates=rates,
        points=tuple(
            Point(
                at=one.at,
                checkpoint=one.key,
                accepted=one.accepted,
                rejected=one.rejected,
                rate=one.accept_rate,
            )
            for one in buckets
            if one.key in shown
        ),
    )


def sum_up(buckets: list[questions.AcceptRate]) -> tuple[Rate, ...]:
    """One rate per checkpoint, of hours in order of time."""
    by_checkpoint: dict[str, list[questions.AcceptRate]] = {}
    for one in reversed(buckets):
        by_checkpoint.setdefault(one.key, []).append(one)
    rates: list[Rate] = []
    for checkpoint, hours in list(by_checkpoint.items())[:SHOWN]:
        accepted = sum(one.accepted for one in hours)
        clicked = accepted + sum(one.rejected for one in hours)
        low, high = wilson(accepted, clicked)
        rates.append(
            Rate(
                checkpoint=checkpoint,
                answers=sum(one.generations for one in hours),
                accepted=accepted,
                rejected=clicked - accepted,
                rate=accepted / clicked if clicked else None,
                low=low,
                high=high,
            )
        )
    return tuple(rates)
