"""Models that are added to a running service, and where every model stands: the tables ``models``
and ``model_states``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from psycopg.types.json import Jsonb

from liveweights.release.deployments import ALIVE
from liveweights.store.database import Connection

CHANNEL = "liveweights_models"
ModelState = Literal["loading", "ready", "cold", "failed", "hosted"]
"""``cold``: it is loaded when it is asked for. ``hosted``: its upstream answers."""


class NoSuchRow(LookupError):
    """No model of that name was added to the service."""


class NameTaken(LookupError):
    """A model of that name was added before."""


@dataclass(frozen=True, slots=True)
class Row:
    """A model, with the keys of a table ``[models.NAME]``. ``version`` rises with every change."""

    name: str
    settings: dict[str, Any]
    version: int
    removed: bool = False


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a model stands on one instance. ``version`` is that of the row that it goes by there;
    None where it is of the settings file."""

    instance: str
    model: str
    state: ModelState
    version: int | None = None
    error: str | None = None


async def read_rows(conn: Connection) -> list[Row]:
    """Those that were not removed, in the order in which they were added."""
    cursor = await conn.execute(
        "select name, settings, version from models where removed_at is null"
        " order by added_at, name"
    )
    return [Row(*row) for row in await cursor.fetchall()]


async def add(conn: Connection, name: str, settings: Mapping[str, Any]) -> int:
    """Add a model, or one that was removed again; its version. Raises NameTaken."""
    cursor = await conn.execute(
        "insert into models (name, settings) values (%s, %s)"
        " on conflict (name) do update set settings = excluded.settings, removed_at = null,"
        " version = models.version + 1, added_at = now(), changed_at = now()"
        " where models.removed_at is not null returning version",
        (name, Jsonb(settings)),
    )
    row = await cursor.fetchone()
    if row is None:
        raise NameTaken(f"the model {name!r} is there already; `liveweights models set` changes it")
    await _notify(conn)
    return row[0]


async def change(conn: Connection, name: str, settings: Mapping[str, Any]) -> int:
    """Give a model other settings; its version. Raises NoSuchRow."""
    cursor = await conn.execute(
        "update models set settings = %s, version = version + 1, changed_at = now()"
        " where name = %s and removed_at is null returning version",
        (Jsonb(settings), name),
    )
    return await _changed(conn, name, await cursor.fetchone())


async def remove(conn: Connection, name: str) -> int:
    """Let a model answer no more; what was recorded and learnt stays. Its version. Raises
    NoSuchRow."""
    cursor = await conn.execute(
        "update models set version = version + 1, changed_at = now(), removed_at = now()"
        " where name = %s and removed_at is null returning version",
        (name,),
    )
    return await _changed(conn, name, await cursor.fetchone())


async def _changed(conn: Connection, name: str, row: tuple[Any, ...] | None) -> int:
    if row is None:
        raise NoSuchRow(f"no model {name!r} was added; `liveweights models list` shows all")
    await _notify(conn)
    return row[0]


async def _notify(conn: Connection) -> None:
    await conn.execute("select pg_notify(%s, '')", (CHANNEL,))


async def report(conn: Connection, instance: str, standings: Sequence[Standing]) -> None:
    """Say where every model of this instance stands, and no other any more."""
    async with conn.transaction():
        await conn.execute(
            "delete from model_states where (instance = %s and not model = any(%s))"
            " or updated_at < now() - interval '1 hour'",
            (instance, [standing.model for standing in standings]),
        )
        async with conn.cursor() as cursor:
            await cursor.executemany(
                "insert into model_states (instance, model, state, version, error)"
                " values (%s, %s, %s, %s, %s) on conflict (instance, model) do update set"
                " state = excluded.state, version = excluded.version, error = excluded.error,"
                " updated_at = now()",
                [(instance, s.model, s.state, s.version, s.error) for s in standings],
            )


async def read_standings(conn: Connection) -> list[Standing]:
    """Of all models on all instances that live, by model, then instance."""
    cursor = await conn.execute(
        "select instance, model, state, version, error from model_states"
        " where updated_at > now() - make_interval(secs => %s) order by model, instance",
        (ALIVE,),
    )
    return [Standing(*row) for row in await cursor.fetchall()]
