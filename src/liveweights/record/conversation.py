"""The answers of one session, as they followed one another."""

from __future__ import annotations

from datetime import datetime, timedelta

from liveweights.record.generation import Generation
from liveweights.record.listing import SHOWN, Listed, read_listed
from liveweights.store.database import Connection

AROUND = timedelta(hours=1)
"""Of a session that is no chat: sessions of chats only have an index."""

CHATS = f"""
{SHOWN}
where tenant = %(tenant)s and session = %(session)s and endpoint = 'chat' and alias = %(alias)s
    and (%(before)s::timestamptz is null or (created_at, id) < (%(before)s, %(id)s))
order by created_at desc, id desc limit %(count)s
"""
OTHERS = f"""
{SHOWN}
where alias = %(alias)s and created_at >= %(at)s::timestamptz - %(around)s::interval
    and created_at <= %(at)s::timestamptz + %(around)s::interval
    and tenant = %(tenant)s and session = %(session)s
    and (%(before)s::timestamptz is null or (created_at, id) < (%(before)s, %(id)s))
order by created_at desc, id desc limit %(count)s
"""


async def list_session(
    conn: Connection, one: Generation, before: tuple[datetime, str] | None, count: int
) -> list[Listed]:
    """At most ``count`` answers of the session that ``one`` is of, newest first; ``before`` is time
    and id of the one that they are older than. Of a chat all of its answers, of anything else those
    of two hours ``AROUND`` it; without a session, itself."""
    at, id_ = before or (None, None)
    values = {
        "tenant": one.tenant,
        "session": one.session,
        "alias": one.alias,
        "at": one.created_at,
        "around": AROUND,
        "before": at,
        "id": id_,
        "count": count,
    }
    return await read_listed(conn, CHATS if one.endpoint == "chat" else OTHERS, values)
