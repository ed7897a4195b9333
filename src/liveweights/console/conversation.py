"""The page of a session: what was asked and answered in turn, and what was said of each answer."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from datetime import datetime

import msgspec

from liveweights.console.answers import Reaction
from liveweights.console.cursor import PARAM, cut_page, read_moment, write_moment
from liveweights.console.subject import Asked, Subject, missing
from liveweights.console.whole import Whole, read_whole
from liveweights.record import read
from liveweights.record.conversation import list_session
from liveweights.record.names import read_model
from liveweights.store.database import Connection

TURNS = 20
"""Of one page, with up to three texts each."""


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """One answer; ``asked`` is what its prompt has more than the one before it, None where the
    words of its tokens are not known."""

    id: str
    created_at: datetime
    checkpoint: str
    user: str | None
    asked: str | None
    output: str
    reasoning: str
    finish_reason: str
    total_ms: float
    feedback: tuple[Reaction, ...]


class Conversation(msgspec.Struct, frozen=True, kw_only=True):
    """The session that the answer ``id`` is of: its last ``turns``, oldest first; ``next`` is where
    the page of earlier ones begins, None where there are none."""

    model: str
    id: str
    session: str
    tenant: str
    turns: tuple[Turn, ...]
    next: str | None


async def read_conversation(conn: Connection, subject: Subject, asked: Asked) -> Conversation:
    """GET /conversations/ID and GET /conversations/ID.json, by the id of any of its answers. Raises
    ApiError 400, 404."""
    one = await read.generation(conn, asked.id)
    if one is None or asked.tenant not in (None, one.tenant):
        raise missing(
            f"No answer {asked.id[:128]!r} is on record: it is another's, or was removed."
        )
    if one.session is None:
        raise missing(f"The answer {asked.id[:128]!r} is of no session.")
    one_more = await list_session(conn, one, read_moment(asked.get(PARAM)), TURNS + 1)
    shown, following = cut_page(one_more, TURNS, lambda row: write_moment(row.created_at, row.id))
    whole = await read_whole(conn, one_more)
    return Conversation(
        model=await read_model(conn, one.alias),
        id=one.id,
        session=one.session,
        tenant=one.tenant,
        turns=take_turns(list(reversed(whole)), len(shown)),
        next=following,
    )


def take_turns(answers: Sequence[Whole], most: int) -> tuple[Turn, ...]:
    """The last ``most`` of the answers, oldest first; one before them only says what was asked
    already."""
    turns: list[Turn] = []
    before: Whole | None = None
    for one in answers:
        turns.append(
            Turn(
                id=one.id,
                created_at=one.created_at,
                checkpoint=one.checkpoint,
                user=one.user,
                asked=None if one.prompt is None else find_new(before, one.prompt),
                output=one.output,
                reasoning=one.reasoning,
                finish_reason=one.finish_reason,
                total_ms=one.total_ms,
                feedback=one.feedback,
            )
        )
        before = one
    return tuple(turns[-most:])


def find_new(before: Whole | None, prompt: str) -> str:
    """The end of the prompt that neither the prompt before it had, nor is its answer."""
    if before is None or before.prompt is None:
        return prompt
    if prompt.startswith(before.prompt):
        return prompt.removeprefix(before.prompt).removeprefix(before.output)
    common = find_parting(before.prompt, prompt)
    return prompt[prompt.rfind("\n", 0, common) + 1 :]  # from the beginning of a line


def find_parting(one: str, other: str) -> int:
    """How many characters both begin with. Texts may be long: no loop goes through them."""
    most = min(len(one), len(other))
    return bisect_left(range(most), 1, key=lambda end: one[: end + 1] != other[: end + 1])
