"""What an operator does with a canary on the page, and what is known of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

import msgspec

from liveweights.access.actions import OfReleases
from liveweights.access.audit import Event
from liveweights.console.forms import Done, Form, Sent
from liveweights.console.subject import Subject
from liveweights.cycle import live
from liveweights.cycle.override import override
from liveweights.cycle.settings import WorkerSettings
from liveweights.http.errors import ApiError, bad_request
from liveweights.release.alias import Alias, AliasError
from liveweights.release.rollout import Action, IllegalMove, Move
from liveweights.store.database import Connection

MOVES: dict[str, tuple[Action, OfReleases]] = {
    "hold": ("hold", "hold canary"),
    "resume": ("resume", "resume canary"),
    "step": ("step", "step canary"),
    "promote": ("promote", "promote canary"),
    "abort": ("rollback", "abort canary"),
}
"""As the commands are called: what is done, and what the audit says of it."""


POINTS = 200
"""Of a path that is shown, evenly among all and with the last."""


class Wealth(msgspec.Struct, frozen=True, kw_only=True):
    """The natural logarithms of the e-values after ``comparison`` comparisons of the arms."""

    comparison: int
    worse: float
    not_worse: float


async def read_standing(
    conn: Connection, alias: Alias, worker: WorkerSettings
) -> tuple[str, dict[str, Any], tuple[Wealth, ...]]:
    """What the canary does next and waits for, the evidence (rewards, e-values, guards), and the
    path of the e-values."""
    judged = await live.weigh(
        conn, alias, rewards=worker.rewards, canary=worker.canary, gate=worker.gate
    )
    move = judged.move
    path = [
        Wealth(comparison=number, worse=worse, not_worse=not_worse)
        for number, (worse, not_worse) in enumerate(judged.look.comparison.log_wealth, 1)
    ]
    evidence = live.describe(judged.look, worker.canary)
    return f"{move.action}: {move.reason}", evidence, thin(path, POINTS)


def thin(path: Sequence[Wealth], most: int) -> tuple[Wealth, ...]:
    """At most so many of its points, evenly, the last among them."""
    if len(path) <= most:
        return tuple(path)
    return tuple(path[(place + 1) * len(path) // most - 1] for place in range(most))


async def steer_canary(conn: Connection, subject: Subject, sent: Sent) -> Done:
    """``hold``, ``resume``, ``step``, ``promote`` or ``abort`` it for a reason. Raises ApiError:
    400, 404 for no such model, 409 where it cannot be done (any more)."""
    name = subject.find(sent.get("model"))
    worker = subject.workers.get(name)
    if worker is None:
        raise ApiError(409, f"{name!r} is hosted: it has no canary.", code="not_done")
    chosen = MOVES.get(sent.text("do"))
    if chosen is None:
        message = f"'do' is {sent.text('do')[:50]!r}; there are {', '.join(MOVES)}."
        raise bad_request(message, "do")
    reason = sent.text("reason").strip()
    if not reason:
        raise bad_request("A canary is overruled for a reason, which is kept.", "reason")
    try:
        await override(
            conn,
            name,
            Move(chosen[0], f"by hand, on the page: {reason}"),
            rewards=worker.rewards,
            canary=worker.canary,
            gate=worker.gate,
        )
    except (AliasError, IllegalMove) as error:
        raise ApiError(409, f"{error}", code="not_done") from None
    place = f"/releases?{urlencode({'model': name})}"
    return Done(event=Event(chosen[1], name), place=place)


OVERRULE = Form(path="/releases/canary", fields=("model", "do", "reason"), do=steer_canary)
