"""The questions: a typed function for each SQL file beside this one."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from functools import cache
from importlib.resources import files
from typing import Any, Literal, TypeVar, get_args

import msgspec

from liveweights.insight.window import Window
from liveweights.insight.worths import Worths
from liveweights.learn.refusals import PATTERN, REACH
from liveweights.store.database import Connection

By = Literal["checkpoint", "tenant", "surface", "alias"]
MoneyBy = Literal["tenant", "alias", "origin"]
ChargeBy = Literal["tenant", "model", "key", "currency"]
ToolsBy = Literal["checkpoint", "tenant", "alias"]
R = TypeVar("R", bound=msgspec.Struct)


class AcceptRate(msgspec.Struct, frozen=True):
    """One bucket of one key. ``accept_rate`` is in [0, 1], ``reward`` in [-1, 1]; None: no data."""

    at: datetime
    key: str
    generations: int
    accepted: int
    rejected: int
    accept_rate: float | None
    reward: float | None


class Unhappy(msgspec.Struct, frozen=True):
    """A user with the number of answers reacted to, and unwelcome; ``at_least`` that share is."""

    tenant: str
    user: str
    reacted: int
    unwelcome: int
    reward: float
    at_least: float


class Silence(msgspec.Struct, frozen=True):
    """Share of answers in which the model said nothing, in the window before and in this one."""

    key: str
    generations_before: int
    generations: int
    before: float | None
    now: float | None


class Tools(msgspec.Struct, frozen=True):
    """Calls of tools in answers of /v1/responses that were kept: of those that the server made the
    share that failed, and of the episodes with calls the share that made one again and again. Of
    all ``answers`` of chats that say something, the share that declines (`learn.refusals`), within
    ``refused_low`` and ``refused_high``."""

    key: str
    episodes: int
    calls: int
    served: int
    failed: float | None
    looping: float | None
    answers: int
    refused: float | None
    refused_low: float | None
    refused_high: float | None


class Usage(msgspec.Struct, frozen=True):
    """Tokens and their cost, in units of ``currency``. A cost of None: prices of what was used
    are in several. A currency of None: in several, or in none."""

    key: str
    generations: int
    prompt_tokens: int
    output_tokens: int
    cost: float | None
    currency: str | None


class Revenue(msgspec.Struct, frozen=True):
    """What was charged in a bucket of time, what upstreams asked for it, and what is left, in units
    of ``currency``. None: upstreams asked for it, or for part of it, in another currency."""

    at: datetime
    key: str
    currency: str
    generations: int
    revenue: float
    cost: float | None
    margin: float | None


class Charge(msgspec.Struct, frozen=True):
    """What charges of one bucket of time add up to, those of one tenant, model, key and currency
    where these are told apart (else None); ``nanos`` are billionths of it. ``bucket`` counts from
    0."""

    bucket: int
    tenant: str | None
    model: str | None
    key: str | None
    currency: str | None
    requests: int
    prompt_tokens: int
    cached_tokens: int
    output_tokens: int
    nanos: int


class FirstToken(msgspec.Struct, frozen=True):
    """Percentiles of the wait for the first token, in milliseconds."""

    at: datetime
    key: str
    generations: int
    p50_ms: float
    p95_ms: float
    p99_ms: float


class FeedbackDelay(msgspec.Struct, frozen=True):
    """Percentiles of the time from answer to feedback, in seconds."""

    key: str
    feedback: int
    p50_s: float
    p95_s: float
    p99_s: float


class Load(msgspec.Struct, frozen=True):
    """An instance in a bucket of time. ``busy`` is the mean share of its slots in use, ``queued``
    the share of samples in which requests waited."""

    at: datetime
    key: str
    samples: int
    busy: float
    most_running: int
    most_waiting: int
    queued: float
    most_resident: int


class Swap(msgspec.Struct, frozen=True):
    """One change of an alias; ``lasted_s`` seconds until the next."""

    at: datetime
    alias: str
    action: str
    checkpoint: str
    previous: str | None
    reason: str
    lasted_s: float | None


class Standing(msgspec.Struct, frozen=True):
    """How a model stands. ``accept_rate`` is of the ``clicked`` answers of the window, within
    ``low`` and ``high``; ``p50_ms`` and ``p95_ms`` of the wait for the first token. ``cycle`` and
    ``verdict`` are the gate's last ones, ``scores`` in [0, 1] by suite. None: no data."""

    alias: str
    generations: int
    clicked: int
    accept_rate: float | None
    low: float | None
    high: float | None
    p50_ms: float | None
    p95_ms: float | None
    cycle: int | None
    verdict: str | None
    reasons: list[str]
    scores: dict[str, float]


@cache
def sql(name: str) -> str:
    """The text of a question."""
    return (files(__name__) / f"{name}.sql").read_text()


async def accept_rate(
    conn: Connection, window: Window, worths: Worths, *, by: By = "checkpoint"
) -> list[AcceptRate]:
    """How often answers are taken, and what they are worth, over time."""
    return await _ask(conn, "accept_rate", AcceptRate, window, by=by, **worths.to_parameters())


async def unhappy(
    conn: Connection, window: Window, worths: Worths, *, limit: int = 20
) -> list[Unhappy]:
    """Users with unwelcome answers, the surest first. Reads raw feedback, not rollups."""
    return await _ask(conn, "unhappy", Unhappy, window, limit=limit, **worths.to_parameters())


async def silence(conn: Connection, window: Window, *, by: By = "surface") -> list[Silence]:
    """Where the model says nothing more often than in the window before."""
    return await _ask(conn, "silence", Silence, window, by=by)


async def tools(conn: Connection, window: Window, *, by: ToolsBy = "checkpoint") -> list[Tools]:
    """Who calls tools wrongly, or in a loop, and who declines. Reads kept and raw answers, not
    rollups."""
    refusal = {"refusal": PATTERN, "reach": REACH}
    return await _ask(conn, "tools", Tools, window, by=by, **refusal)


async def usage(conn: Connection, window: Window, *, by: By = "tenant") -> list[Usage]:
    """Tokens and cost, the most expensive first."""
    return await _ask(conn, "usage", Usage, window, by=by)


async def revenue(conn: Connection, window: Window, *, by: MoneyBy = "tenant") -> list[Revenue]:
    """What was charged, what it cost, and what is left, over time. Reads the ledger, not
    rollups."""
    return await _ask(conn, "revenue", Revenue, window, by=by)


async def charges(
    conn: Connection,
    since: datetime,
    until: datetime,
    *,
    width: int,
    tenant: str | None,
    by: Collection[ChargeBy],
) -> list[Charge]:
    """What was used and owed from ``since`` to before ``until``, in buckets of ``width`` seconds.
    Reads the ledger."""
    values = {
        "start": since.timestamp(),
        "width": width,
        "since": since,
        "until": until,
        "tenant": tenant,
        **{f"by_{name}": name in by for name in get_args(ChargeBy)},
    }
    cursor = await conn.execute(sql("charges").encode(), values)
    return [Charge(*columns) for columns in await cursor.fetchall()]


async def first_token(
    conn: Connection, window: Window, *, by: By = "checkpoint"
) -> list[FirstToken]:
    """How long users wait for the first token, over time."""
    return await _ask(conn, "first_token", FirstToken, window, by=by)


async def feedback_delay(
    conn: Connection, window: Window, *, by: By = "surface"
) -> list[FeedbackDelay]:
    """How long after an answer its feedback comes."""
    return await _ask(conn, "feedback_delay", FeedbackDelay, window, by=by)


async def load(conn: Connection, window: Window) -> list[Load]:
    """How busy each instance of the API was, over time, whatever the window's alias. Instances are
    of no tenant: for one, there is nothing to say."""
    if window.tenant is not None:
        return []
    return await _ask(conn, "load", Load, window)


async def swaps(conn: Connection, window: Window) -> list[Swap]:
    """Every change of what the window's alias points at that was made in the window. For a tenant:
    of everybody's aliases and its own branches."""
    changes = await _ask(conn, "swaps", Swap, window)
    return [swap for swap in changes if window.since <= swap.at < window.until]


async def standing(conn: Connection, window: Window) -> list[Standing]:
    """How each model stands that answered in the window, or was ever judged. It is of all tenants'
    answers: for one, there is nothing to say."""
    if window.tenant is not None:
        return []
    return await _ask(conn, "standing", Standing, window)


async def _ask(conn: Connection, name: str, row: type[R], window: Window, **more: Any) -> list[R]:
    values = {
        "since": window.since,
        "until": window.until,
        "width": window.width,
        "alias": window.alias,
        "tenant": window.tenant,
        **more,
    }
    cursor = await conn.execute(sql(name).encode(), values)
    return [row(*columns) for columns in await cursor.fetchall()]
