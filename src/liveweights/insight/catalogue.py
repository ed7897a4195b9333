"""Every question by name, for the CLI and the HTTP endpoint."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from liveweights.insight import questions
from liveweights.insight.window import Window
from liveweights.insight.worths import Worths
from liveweights.store.database import Connection

KEYS = ("checkpoint", "tenant", "surface", "alias")
"""What answers can be told apart by."""
MONEY_KEYS = ("tenant", "alias", "origin")
"""What money can be; the origin is the country of a model's maker."""
TOOL_KEYS = ("checkpoint", "tenant", "alias")
"""What calls of tools can be."""

Ask = Callable[[Connection, Window, Worths, Any], Awaitable[Sequence[msgspec.Struct]]]


@dataclass(frozen=True, slots=True)
class Question:
    """``by`` is the default key, None for a question without one; ``drawn`` is the number to draw
    over time, if its rows are over time, and ``counted`` what there is one of it of: one line for
    each value of ``told``, of which there is one row at each time. ``keys`` are what it can be
    asked by."""

    ask: Ask
    row: type[msgspec.Struct]
    by: str | None = None
    drawn: str | None = None
    counted: str = "generations"
    told: tuple[str, ...] = ("key",)
    keys: tuple[str, ...] = KEYS


QUESTIONS: dict[str, Question] = {
    "accept-rate": Question(
        lambda conn, window, worths, by: questions.accept_rate(conn, window, worths, by=by),
        questions.AcceptRate,
        "checkpoint",
        "accept_rate",
    ),
    "unhappy": Question(
        lambda conn, window, worths, by: questions.unhappy(conn, window, worths),
        questions.Unhappy,
    ),
    "silence": Question(
        lambda conn, window, worths, by: questions.silence(conn, window, by=by),
        questions.Silence,
        "surface",
    ),
    "tools": Question(
        lambda conn, window, worths, by: questions.tools(conn, window, by=by),
        questions.Tools,
        "checkpoint",
        keys=TOOL_KEYS,
    ),
    "usage": Question(
        lambda conn, window, worths, by: questions.usage(conn, window, by=by),
        questions.Usage,
        "tenant",
    ),
    "revenue": Question(
        lambda conn, window, worths, by: questions.revenue(conn, window, by=by),
        questions.Revenue,
        "tenant",
        "revenue",
        told=("key", "currency"),
        keys=MONEY_KEYS,
    ),
    "first-token": Question(
        lambda conn, window, worths, by: questions.first_token(conn, window, by=by),
        questions.FirstToken,
        "checkpoint",
        "p50_ms",
    ),
    "feedback-delay": Question(
        lambda conn, window, worths, by: questions.feedback_delay(conn, window, by=by),
        questions.FeedbackDelay,
        "surface",
    ),
    "load": Question(
        lambda conn, window, worths, by: questions.load(conn, window),
        questions.Load,
        drawn="busy",
        counted="samples",
    ),
    "swaps": Question(
        lambda conn, window, worths, by: questions.swaps(conn, window),
        questions.Swap,
    ),
}


def check_key(name: str, by: str | None) -> str | None:
    """The key to ask by. Raises ValueError for one that the question has not."""
    default = QUESTIONS[name].by
    if by is None:
        return default
    if default is None:
        raise ValueError(f"{name} has no 'by'")
    keys = QUESTIONS[name].keys
    if by not in keys:
        raise ValueError(f"{name} can be asked by {', '.join(keys)}, not by {by!r}")
    return by
