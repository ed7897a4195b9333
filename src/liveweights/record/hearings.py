"""How far what was said next in a model's chats has been heard."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime

from liveweights.store.database import Connection

EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)

BEGIN = """
insert into hearings (model, classifier, until, whole)
values (%(model)s, %(classifier)s, %(earliest)s, %(earliest)s)
on conflict (model) do update set classifier = excluded.classifier,
    until = case when hearings.classifier = excluded.classifier
        then hearings.until else excluded.until end,
    whole = case when hearings.classifier = excluded.classifier
        then hearings.whole else excluded.whole end
returning until, whole, back
"""

HEARD = """
update hearings set until = greatest(until, %(until)s),
    whole = case when %(late)s then greatest(whole, %(until)s) else whole end
where model = %(model)s and classifier = %(classifier)s and back = %(back)s
"""

ANEW = """
update hearings set back = back + 1,
    until = least(until, %(day)s::timestamp at time zone 'UTC'),
    whole = least(whole, %(day)s::timestamp at time zone 'UTC')
"""


@dataclass(frozen=True, slots=True)
class Heard:
    """Requests from before ``until`` were heard, but for some that were recorded late; all from
    before ``whole`` that were recorded when a cycle heard them. ``back``: how often days had been
    brought back."""

    until: datetime
    whole: datetime
    back: int


async def begin_hearing(conn: Connection, model: str, classifier: str) -> Heard:
    """How far requests to the model were heard; where it was by another classifier, by this one
    from now on, from the beginning. Commits."""
    values = {"model": model, "classifier": classifier, "earliest": EARLIEST}
    cursor = await conn.execute(BEGIN, values)
    row = await cursor.fetchone()
    assert row is not None
    await conn.commit()
    return Heard(*row)


async def note_heard(
    conn: Connection, model: str, classifier: str, until: datetime, *, began: Heard, late: bool
) -> None:
    """Note that requests to the model from before then were heard, with ``late`` all that were
    recorded by now; nothing, where a day was brought back since that hearing ``began``, or
    another classifier hears."""
    values = {"model": model, "classifier": classifier, "until": until, "late": late}
    await conn.execute(HEARD, {**values, "back": began.back})


async def hear_anew(conn: Connection, day: date) -> None:
    """Hear what was asked since that day began (in UTC) once more, in the caller's transaction."""
    await conn.execute(ANEW, {"day": day})
