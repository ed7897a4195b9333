"""The page of databases for agents, and what an operator does with one."""

from __future__ import annotations

import msgspec

from liveweights.access.actions import OfDatabases
from liveweights.access.audit import Event
from liveweights.agentdb.endpoint import has_host
from liveweights.agentdb.errors import HostError, NoDatabase, Refused
from liveweights.agentdb.peek import peek
from liveweights.agentdb.rows import Database
from liveweights.agentdb.service import Databases as Service
from liveweights.console.cursor import PARAM, ROWS, cut_page, read_number
from liveweights.console.forms import Done, Form, Sent
from liveweights.console.subject import Asked, Subject
from liveweights.http.errors import ApiError, bad_request
from liveweights.store.database import Connection

ACTIONS: dict[str, OfDatabases] = {"pause": "pause database", "delete": "delete database"}


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """A database, and the name of the one that it was copied from."""

    database: Database
    source: str | None


class Databases(msgspec.Struct, frozen=True, kw_only=True):
    """A page of all databases, oldest first; ``next`` is where the next one begins, None at the
    end. Not ``running``: there is no server now, and it is not known what it holds."""

    running: bool
    databases: tuple[Listed, ...]
    count: int
    size: int
    next: str | None


async def read_databases(conn: Connection, subject: Subject, asked: Asked) -> Databases:
    """GET /databases and GET /databases.json. Starts no server. Raises ApiError 400."""
    passed = read_number(asked.get(PARAM)) or 0
    found = await peek(subject.databases)
    listed = found or []
    names = {one.id: one.name for one in listed}
    shown, more = cut_page(listed[passed : passed + ROWS + 1], ROWS, lambda _: str(passed + ROWS))
    return Databases(
        running=found is not None,
        databases=tuple(
            Listed(database=one, source=one.source and names.get(one.source, one.source))
            for one in shown
        ),
        count=len(listed),
        size=sum(one.size for one in listed),
        next=more,
    )


async def change_databases(conn: Connection, subject: Subject, sent: Sent) -> Done:
    """Pause or delete one. Raises ApiError: 400, 404 for no such database, 409 where it cannot be
    done."""
    do, owner, name = sent.get("do"), sent.text("owner"), sent.text("name")
    action = ACTIONS.get(do or "")
    if action is None:
        raise bad_request(f"'do' is {(do or '')[:50]!r}: pause or delete.", "do")
    if not has_host(subject.databases):
        raise ApiError(409, "The server of the databases does not run.", code="not_done")

    async def change() -> None:
        try:
            async with Service(subject.databases, owner=owner) as service:
                if do == "pause":
                    await service.pause(name)
                elif not await service.delete(name):
                    raise NoDatabase(f"{owner} has no database {name[:63]!r}")
        except NoDatabase as error:
            raise ApiError(404, f"{error}.", code="not_found") from None
        except (Refused, HostError) as error:
            raise ApiError(409, f"{error}.", code="not_done") from None

    return Done(event=Event(action, name), place="/databases", after=change)


CHANGE = Form(path="/databases", fields=("do", "owner", "name"), do=change_databases)
