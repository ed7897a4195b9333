"""Rows that cannot be stored, as they are kept for people to look at."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Literal

import msgspec
import psycopg

from liveweights.record.binary import COLUMNS, Row, created_at, read_fields
from liveweights.record.clean import clean_text
from liveweights.record.feedback import Feedback
from liveweights.record.generation import Generation

COPY = "copy " + " ".join(COLUMNS)
"""How ``data`` is to be read: as for COPY, with these columns."""
REACTION = "reaction"
"""As the JSON of a `Reaction`."""
NOTES = "notes"
"""By people: what was given could not even be encoded."""

Kind = Literal["generation", "feedback"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Refused:
    """A row and why it was refused. ``generation`` is its own id, or what the feedback is about;
    ``imported``: the answer was given elsewhere before. ``created_at`` is when it was asked for;
    None: it is feedback."""

    kind: Kind
    id: str
    generation: str
    tenant: str
    user: str | None = None
    reason: str
    form: str
    data: bytes
    imported: bool = False
    created_at: datetime | None = None


class Reaction(msgspec.Struct):
    """Feedback, and of an ``edited`` the share of its answer that was kept."""

    feedback: Feedback
    survived: float | None


def reason_of(error: Exception) -> str:
    """In one line, without what the user said: Postgres quotes the row in the details only."""
    if isinstance(error, psycopg.Error) and error.sqlstate:
        reason = f"{error.sqlstate} {error.diag.message_primary}"
    else:
        reason = f"{type(error).__name__}: {error}"
    return clean_text(" ".join(reason.split())[:500])


def refused_generation(row: Row, error: Exception) -> Refused:
    fields = read_fields(row.data)
    user = fields.get("user_id")
    return Refused(
        kind="generation",
        id=row.id,
        generation=row.id,
        tenant=fields["tenant"].decode(),
        user=None if user is None else user.decode(),
        reason=reason_of(error),
        form=COPY,
        data=row.data,
        created_at=created_at(row),
    )


def refused_feedback(f: Feedback, survived: float | None, error: Exception) -> Refused:
    return Refused(
        kind="feedback",
        id=f.id,
        generation=f.generation,
        tenant=f.tenant,
        reason=reason_of(error),
        form=REACTION,
        data=msgspec.json.encode(Reaction(f, survived)),
    )


def unencodable(g: Generation, error: Exception) -> Refused:
    """An answer with something in it that is not of its type."""
    return Refused(
        kind="generation",
        id=clean_text(str(g.id)),
        generation=clean_text(str(g.id)),
        tenant=clean_text(str(g.tenant)),
        user=None if g.user is None else clean_text(str(g.user)),
        reason=reason_of(error),
        form=NOTES,
        data=clean_text(repr(asdict(g))).encode(),
        created_at=g.created_at,
    )
