"""What the database of a service has against its start; it is only read here."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import psycopg

from liveweights.app.bases import at_bases
from liveweights.app.profiles import read_known
from liveweights.app.start import find_base
from liveweights.app.terms import find_denied
from liveweights.config import Config
from liveweights.cycle import ledger
from liveweights.cycle.bases import Standing, read_bases
from liveweights.holder import Held, Holder
from liveweights.release.standing import check_stand
from liveweights.store.database import Connection
from liveweights.store.tiers import check_version
from liveweights.weights.checkpoint import Checkpoint

log = logging.getLogger(__name__)


async def ask_database(
    dsn: str,
    config: Config,
    bases: Sequence[Checkpoint],
    *,
    home: Path,
    holder: Holder,
    learns: bool,
    switch: bool,
) -> tuple[Config, list[Checkpoint]]:
    """The settings, and the ``bases`` of their local models (none: a gateway), by where the aliases
    stand; unless ``switch`` lets these go over.

    ``learns`` is whether the service has a worker. Raises UnsupportedServer, Held where another
    service has one, AnotherBase, AliasError, CatalogueRefused, and what ``find_base`` does.
    """
    async with _reading(dsn) as conn:
        await check_version(conn)
        if not bases:
            return config, []
        if learns:
            await _require_no_workers(conn, config, holder)
        standing = {} if switch else await read_bases(conn)
    config, found = await _follow(config, bases, standing, learns=learns)
    known = await asyncio.to_thread(read_known, config, home)
    async with _reading(dsn) as conn:
        denied = await find_denied(conn, config, known)
        for model, base in zip(config.list_models(), found, strict=True):
            if model.alias not in denied:
                await check_stand(conn, model.alias, base, model=model.base, switch=switch)
    return config, found


async def ask_older(dsn: str, config: Config, *, holder: Holder, learns: bool) -> None:
    """As ``ask_database``, of tables of an older version, or of none: what server it is, and whose
    the cycles are, as far as they can say that. Raises UnsupportedServer, Held."""
    async with _reading(dsn) as conn:
        await check_version(conn)
        if learns:
            # The rest is asked once they are of this version.
            with suppress(psycopg.ProgrammingError, psycopg.DataError):
                await _require_no_workers(conn, config, holder)


async def _require_no_workers(conn: Connection, config: Config, holder: Holder) -> None:
    for model in config.list_models():
        lease = await ledger.read_lease(conn, ledger.lease_of(model.alias))
        other = Holder.decode(lease[0]) if lease else None
        # One of this home was killed: nobody else can be on it, and its lease runs out.
        if other is not None and other.home != holder.home and not other.is_dead():
            raise Held(ledger.describe_holder(model.alias, other))


async def _follow(
    config: Config, bases: Sequence[Checkpoint], standing: Mapping[str, Standing], *, learns: bool
) -> tuple[Config, list[Checkpoint]]:
    followed = at_bases(config, standing)
    found: list[Checkpoint] = []
    for before, model, base in zip(
        config.list_models(), followed.list_models(), bases, strict=True
    ):
        if model.base != before.base:
            log.warning(
                "%s was switched to %s: the settings still say %s",
                *(model.alias, model.base, before.base),
            )
            base = await find_base(model, config.cache_folder(), learns=learns and model.learns)
        found.append(base)
    return followed, found


@asynccontextmanager
async def _reading(dsn: str) -> AsyncGenerator[Connection]:
    """A connection in which Postgres refuses every change."""
    async with await psycopg.AsyncConnection.connect(dsn) as conn:
        await conn.set_read_only(True)
        yield conn
