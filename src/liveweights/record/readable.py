"""Which rows a cycle may read: of its model, and in a tenant's branch of that tenant alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, LiteralString

from liveweights.record.bases import read_foreign
from liveweights.store.database import Connection

TENANT: LiteralString = "(%(tenant)s::text is null or g.tenant = %(tenant)s)"
READABLE: LiteralString = f"""
g.alias = %(model)s and g.consent and g.checkpoint <> all(%(foreign)s::text[]) and {TENANT}
"""
"""What holds of every generation ``g`` that is learnt from or judged by, except a teacher's; the
parameters are those of ``Readable``."""


@dataclass(frozen=True, slots=True)
class Readable:
    """The rows of one alias's cycles: answers of ``model`` to ``tenant`` (None: to anybody), but
    for those of ``foreign`` checkpoints."""

    model: str
    tenant: str | None = None
    foreign: list[str] = field(default_factory=list[str])

    def parameters(self) -> dict[str, Any]:
        return {"model": self.model, "tenant": self.tenant, "foreign": self.foreign}


async def read_branch(conn: Connection, alias: str) -> tuple[str, str | None]:
    """The model under which answers of ``alias`` are recorded, and whose branch it is."""
    cursor = await conn.execute("select model, tenant from standing where alias = %s", (alias,))
    row = await cursor.fetchone()
    return (alias, None) if row is None else (row[0], row[1])


async def read_readable(conn: Connection, alias: str, checkpoint: str | None = None) -> Readable:
    """What cycles of ``alias`` may read that build on the base of ``checkpoint``, by default what
    is live. The tenant is the database's own knowledge: nobody can hand in another."""
    cursor = await conn.execute(
        "select model, tenant, live from standing where alias = %s", (alias,)
    )
    row = await cursor.fetchone()
    if row is None:  # of a hosted model, or one that never was served
        return Readable(alias)
    model, tenant, live = row
    return Readable(model, tenant, await read_foreign(conn, checkpoint or live, tenant))
