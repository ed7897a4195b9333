"""What an operator does with a canary on the page, and what is known of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from liveweights.console.forms import Done, Form
from liveweights.console.person import Person
from liveweights.console.subject import Subject
from liveweights.cycle import live
from liveweights.cycle.override import override
from liveweights.cycle.settings import WorkerSettings
from liveweights.http.errors import ApiError, bad_request
from liveweights.release.alias import Alias, AliasError
from liveweights.release.rollout import Action, IllegalMove, Move
from liveweights.store.database import Connection

MOVES: dict[str, Action] = {
    "hold": "hold",
    "resume": "resume",
    "step": "step",
    "promote": "promote",
    "abort": "rollback",
}
"""As the commands are called."""


async def read_standing(
    conn: Connection, alias: Alias, worker: WorkerSettings
) -> tuple[str, dict[str, Any]]:
    """What the canary does next and waits for, and the evidence: rewards, e-values, guards."""
    judged = await live.weigh(
        conn, alias, rewards=worker.rewards, canary=worker.canary, gate=worker.gate
    )
    move = judged.move
    return f"{move.action}: {move.reason}", live.describe(judged.look, worker.canary)


async def steer_canary(
    conn: Connection, subject: Subject, person: Person, form: Mapping[str, str]
) -> Done:
    """``hold``, ``resume``, ``step``, ``promote`` or ``abort`` it for a reason. Raises ApiError:
    400, 404 for no such model, 409 where it cannot be done (any more)."""
    name = subject.find(form.get("model"))
    worker = subject.workers.get(name)
    if worker is None:
        raise ApiError(409, f"{name!r} is hosted: it has no canary.", code="not_done")
    action = MOVES.get(form.get("do", ""))
    if action is None:
        message = f"'do' is {form.get('do', '')[:50]!r}; there are {', '.join(MOVES)}."
        raise bad_request(message, "do")
    reason = form.get("reason", "").strip()
    if not reason:
        raise bad_request("A canary is overruled for a reason, which is kept.", "reason")
    try:
        await override(
            conn,
            name,
            Move(action, f"by hand, on the page: {reason}"),
            rewards=worker.rewards,
            canary=worker.canary,
            gate=worker.gate,
        )
    except (AliasError, IllegalMove) as error:
        raise ApiError(409, f"{error}", code="not_done") from None
    place = f"/releases?{urlencode({'model': name})}"
    return Done(action=f"{form['do']} canary", target=name, place=place)


OVERRULE = Form(path="/releases/canary", fields=("model", "do", "reason"), do=steer_canary)
