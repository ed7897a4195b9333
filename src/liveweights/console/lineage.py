"""The page of a model's lineage: its checkpoints as a graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import quote, urlencode

import msgspec
from markupsafe import Markup

from liveweights.console.checkpoints import Row, list_rows
from liveweights.console.cursor import cut_page, write_moment
from liveweights.console.graph import Node, draw, lay_out
from liveweights.console.subject import Asked, Subject
from liveweights.console.templates import count, percent, words
from liveweights.store.database import Connection

NODES = 60
"""Checkpoints of one picture."""

PARENTS = "select id, array_agg(parent order by parent) from descent where id = any(%s) group by id"


class Made(msgspec.Struct, frozen=True, kw_only=True):
    """A checkpoint and what it was made from: first what it goes on from."""

    checkpoint: Row
    parents: tuple[str, ...]


class Lineage(msgspec.Struct, frozen=True, kw_only=True):
    """A page of the checkpoints on a model's base, newest first, and what is live; ``next`` is
    where the picture of older ones begins, None at the end."""

    model: str
    live: str | None
    made: tuple[Made, ...]
    next: str | None

    @property
    def picture(self) -> Markup:
        """As SVG."""
        nodes = [describe(one, self.model) for one in self.made]
        return draw(lay_out(nodes, self.live), f"What was made from what, of {self.model}")


async def read_lineage(conn: Connection, subject: Subject, asked: Asked) -> Lineage:
    """GET /lineage and GET /lineage.json. Raises ApiError 400."""
    one_more = await list_rows(conn, asked, NODES + 1)
    shown, following = cut_page(one_more, NODES, lambda row: write_moment(row.created_at, row.id))
    cursor = await conn.execute(PARENTS, ([row.id for row in shown],))
    parents: dict[str, list[str]] = dict(await cursor.fetchall())
    cursor = await conn.execute("select live from standing where alias = %s", (asked.model,))
    live = await cursor.fetchone()
    return Lineage(
        model=asked.model,
        live=live[0] if live else None,
        made=tuple(
            Made(checkpoint=row, parents=choose_parents(row, parents.get(row.id, ())))
            for row in shown
        ),
        next=following,
    )


def choose_parents(row: Row, all_of_them: Sequence[str]) -> tuple[str, ...]:
    """Of what it descends from: what it goes on from, and all parts of a merge; the base that it
    stands on only where there is nothing else."""
    others = [one for one in all_of_them if one not in (row.parent, row.base)]
    first = [row.parent] if row.parent is not None else []
    found = (*first, *others)
    return found or tuple(all_of_them)


MARKS: Mapping[str, str] = {"live": "live", "canary": "canary", "pruned": "gone"}


def describe(made: Made, model: str) -> Node:
    """As a node of the picture."""
    row = made.checkpoint
    by = f"cycle {row.cycle}, {words(row.outcome or 'open')}" if row.cycle else row.kind
    clicked = row.accepted + row.rejected
    taken = f"{percent(row.rate)} of {count(clicked)} taken" if clicked else ""
    told = (row.standing, by, taken)
    return Node(
        id=row.id,
        parents=made.parents,
        mark=MARKS.get(row.standing, ""),
        note=" · ".join(part for part in told if part),
        href=f"/checkpoints/{quote(row.id)}?{urlencode({'model': model})}",
    )
