"""The page of releases: what an alias points at, every change of it and why, and the way back."""

from __future__ import annotations

import math
import re
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

import msgspec
from markupsafe import Markup

from liveweights.access.audit import Event
from liveweights.console.canary import Wealth, read_standing
from liveweights.console.cursor import PARAM, ROWS, cut_page, read_number
from liveweights.console.forms import Done, Form, Sent
from liveweights.console.path import Station, read_path
from liveweights.console.plots import Path, draw_paths
from liveweights.console.subject import Asked, Subject, missing
from liveweights.http.errors import ApiError, bad_request
from liveweights.release import aliases, moves
from liveweights.release.alias import AliasError, UnknownAlias
from liveweights.release.history import rollback_targets
from liveweights.store.database import Connection
from liveweights.weights.registry import NotRegistered


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One change of an alias."""

    id: int
    at: datetime
    action: str
    checkpoint: str
    previous: str | None
    cycle: int | None
    reason: str


class Releases(msgspec.Struct, frozen=True, kw_only=True):
    """An alias at ``version``, what its canary ``waits`` for, the ``evidence`` for and against it
    (as ``liveweights canary show`` has it), what a rollback can make live again
    (nearest first), and a page of its changes, newest first. ``share`` is of the sessions, or
    ``by_answer``."""

    model: str
    version: int
    live: str
    canary: str | None
    share: float
    by_answer: bool
    shadow: float
    held: bool
    waits: str | None
    evidence: dict[str, Any] | None
    wealth: tuple[Wealth, ...]
    path: tuple[Station, ...]
    targets: tuple[str, ...]
    changes: tuple[Change, ...]
    next: str | None

    @property
    def plot(self) -> Markup | None:
        """The path of the e-values as SVG; None before the arms were compared."""
        if not self.wealth or self.evidence is None:
            return None
        paths = (
            Path("bad", [one.worse for one in self.wealth]),
            Path("good", [one.not_worse for one in self.wealth]),
        )
        bound = math.log(self.evidence["numbers"]["needed"])
        return draw_paths(paths, bound, "E-values of the canary, and what is needed")


LIST = """
select id, at, action, checkpoint, previous, cycle, reason from swaps
where alias = %s and (%s::bigint is null or id < %s) order by id desc limit %s
"""


async def read_releases(conn: Connection, subject: Subject, asked: Asked) -> Releases:
    """GET /releases and GET /releases.json. Raises ApiError 404 for a model without releases."""
    before = read_number(asked.get(PARAM))
    worker = subject.workers.get(asked.model)
    try:
        alias = await aliases.read(conn, asked.model)
    except UnknownAlias:
        alias = None
    if worker is None or alias is None:
        raise missing(f"{asked.model!r} has no releases: it is hosted, or was never started.")
    cursor = await conn.execute(LIST, (asked.model, before, before, ROWS + 1))
    names = Change.__struct_fields__
    one_more = [Change(**dict(zip(names, row, strict=True))) for row in await cursor.fetchall()]
    shown, following = cut_page(one_more, ROWS, lambda change: str(change.id))
    waits, evidence, wealth = None, None, ()
    if alias.canary:
        waits, evidence, wealth = await read_standing(conn, alias, worker)
    return Releases(
        model=alias.name,
        version=alias.version,
        live=alias.live,
        canary=alias.canary,
        share=round(alias.share, 4),
        by_answer=alias.by_answer,
        shadow=round(alias.shadow, 4),
        held=alias.held,
        waits=waits,
        evidence=evidence,
        wealth=wealth,
        path=await read_path(conn, alias.name, alias.canary or alias.live),
        targets=tuple(await rollback_targets(conn, alias.name)),
        changes=shown,
        next=following,
    )


async def roll_back(conn: Connection, subject: Subject, sent: Sent) -> Done:
    """Do what the form says. Raises ApiError: 400, 404 for no such model, 409 where it cannot be
    done (any more)."""
    name = subject.find(sent.get("model"))
    version = sent.get("version")
    if version is not None and not re.fullmatch("[0-9]{1,18}", version):
        raise bad_request(f"'version' is {version[:50]!r}; it is a number.", "version")
    try:
        await moves.rollback(
            conn,
            name,
            sent.get("to"),
            reason=sent.get("reason") or "by hand, on the page",
            version=None if version is None else int(version),
        )
    except (AliasError, NotRegistered, UnknownAlias) as error:
        raise ApiError(409, f"{error}", code="no_rollback") from None
    place = f"/releases?{urlencode({'model': name})}"
    return Done(event=Event("roll back", name), place=place)


ROLL_BACK = Form(
    path="/releases/rollback", fields=("model", "to", "version", "reason"), do=roll_back
)
