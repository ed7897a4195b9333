"""A start that is refused leaves the database, and what its home says of it, as they were."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest
from tests.weights.gguf_files import write_gguf

from liveweights.app.running import read_running
from liveweights.app.supervisor import Supervisor
from liveweights.config import Config
from liveweights.cycle import ledger
from liveweights.holder import Held, Holder
from liveweights.meter.price_rows import settle_prices
from liveweights.meter.prices import Price, price_from
from liveweights.release.alias import AnotherBase
from liveweights.store import tiers
from liveweights.store.migrate import migrate, packaged
from liveweights.store.tiers import UnsupportedServer

STATE = (
    "select coalesce(json_agg(m.name order by m.name), '[]') from migrations m",
    "select json_agg(p order by id) from prices p",
    "select json_agg(a) from aliases a",
    "select json_agg(d) from terms_denials d",
)


def look(dsn: str) -> list[Any]:
    with psycopg.connect(dsn) as conn:
        return [conn.execute(query.encode()).fetchone() for query in STATE]


def prepare(dsn: str, *, owner: str = "", alias: str = "") -> None:
    """A running service's price; its worker's lease, or its alias on a base."""

    async def do() -> None:
        async with await psycopg.AsyncConnection.connect(dsn) as conn:
            price = price_from(Price(input=1.0), "own")
            await settle_prices(conn, {"own": price}, "settings", "sale")
            if owner:
                lease = ledger.lease_of("own")
                await ledger.take_lease(conn, lease, owner, 600)
            if alias:
                await conn.execute(
                    "insert into checkpoints (id, kind, folder, card)"
                    " values ('m@1', 'base', '/', '{}')"
                )
                await conn.execute(
                    "insert into aliases (name, live, served_at) values (%s, 'm@1', now())",
                    (alias,),
                )

    asyncio.run(do())


def refuse(
    dsn: str, folder: Path, error: type[Exception], *, roles: tuple[str, ...] = ("api", "worker")
) -> None:
    file = write_gguf(folder / "own.gguf")
    settings = {
        "models": {"own": {"base": str(file)}},
        "database": dsn,
        "cache": str(folder / "cache"),
        "api": {"port": 0},
        "prices": {},
    }
    supervisor = Supervisor(msgspec.convert(settings, Config), folder / "home", roles)
    with pytest.raises(error):
        asyncio.run(supervisor.run())
    assert read_running(folder / "home") is None


def test_where_the_cycles_are_another_workers_even_the_schema_stays(
    empty_dsn: str, tmp_path: Path
) -> None:
    migrate(empty_dsn, packaged()[:-1])
    other = Holder(pid=1, host="elsewhere", since="2026-01-01T00:00:00+00:00", home="another")
    prepare(empty_dsn, owner=other.encode())
    before = look(empty_dsn)
    refuse(empty_dsn, tmp_path, Held)
    assert look(empty_dsn) == before


def test_where_the_alias_stands_on_another_base_nothing_is_said_of_prices(
    database_dsn: str, tmp_path: Path
) -> None:
    prepare(database_dsn, alias="own")
    before = look(database_dsn)
    refuse(database_dsn, tmp_path, AnotherBase, roles=("api",))
    assert look(database_dsn) == before


def test_a_server_that_is_too_old_gets_no_tables(
    empty_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiers, "OLDEST", 99)
    refuse(empty_dsn, tmp_path, UnsupportedServer, roles=("api",))
    with psycopg.connect(empty_dsn) as conn:
        assert conn.execute("select to_regclass('migrations')").fetchone() == (None,)
