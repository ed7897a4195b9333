"""A start that is refused leaves the database, and what its home says of it, as they were."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest
from tests.folders import make_folder
from tests.weights.gguf_files import write_gguf

from liveweights.app import supervisor as supervising
from liveweights.app.running import read_running
from liveweights.app.supervisor import Supervisor
from liveweights.config import EMBEDDED, Config
from liveweights.cycle import ledger
from liveweights.holder import Held, Holder, is_held
from liveweights.meter.price_rows import settle_prices
from liveweights.meter.prices import Price, price_from
from liveweights.release.alias import AliasError, AnotherBase
from liveweights.store import tiers
from liveweights.store.embedded import EmbeddedPostgres
from liveweights.store.migrate import Migration, migrate, packaged
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
    dsn: str | None,
    folder: Path,
    error: type[Exception],
    *,
    roles: tuple[str, ...] = ("api", "worker"),
) -> None:
    file = write_gguf(folder / "own.gguf")
    settings = {
        "models": {"own": {"base": str(file)}},
        "database": dsn or EMBEDDED,
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


def test_tables_of_an_older_version_are_asked_only_what_they_can_say(
    database_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The start goes on to their migration, and asks all of what it made."""
    later = Migration("9999_text.sql", b"alter table leases alter column name type text")
    wanted = [*packaged(), later]
    monkeypatch.setattr("liveweights.store.migrate.packaged", lambda: wanted)
    prepare(database_dsn, alias="own")
    with psycopg.connect(database_dsn) as conn:
        conn.execute("alter table leases alter column name type integer using 0")
    refuse(database_dsn, tmp_path, AnotherBase)
    assert look(database_dsn)[0][0][-1] == later.name


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


@pytest.fixture
def own() -> Iterator[tuple[Path, EmbeddedPostgres]]:
    """A folder with a home, and that home's server as a command has started it."""
    folder = make_folder()
    server = EmbeddedPostgres(folder / "home" / "postgres", settings={"fsync": "off"})
    try:
        migrate(server.start())
        yield folder, server
    finally:
        server.destroy()
        shutil.rmtree(folder, ignore_errors=True)


def test_a_command_keeps_the_server_that_it_started(own: tuple[Path, EmbeddedPostgres]) -> None:
    folder, server = own
    prepare(server.dsn, alias="own")
    with psycopg.connect(server.dsn) as conn:
        refuse(None, folder, AnotherBase, roles=("api",))
        assert conn.execute("select 1").fetchone() == (1,)
    assert server.owned


def test_a_server_that_a_command_left_to_the_start_is_ended_with_it(
    own: tuple[Path, EmbeddedPostgres], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, server = own

    async def ask(*_: Any, **__: Any) -> None:
        server.stop(unless=partial(is_held, folder / "home"))
        assert server.is_running()
        raise AliasError("no")

    monkeypatch.setattr(supervising, "ask_database", ask)
    refuse(None, folder, AliasError, roles=("api",))
    assert not server.is_running()
