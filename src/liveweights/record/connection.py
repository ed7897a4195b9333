"""A connection for what clients store, whose faults have names."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import psycopg

from liveweights.record.errors import StoreAway, Unstorable
from liveweights.record.refused import reason_of
from liveweights.store.database import Connection, Pool
from liveweights.store.faults import Fault, fault_of


@asynccontextmanager
async def connect(pool: Pool) -> AsyncGenerator[Connection]:
    """Raises StoreAway, and Unstorable for what the database will never take."""
    try:
        async with pool.connection() as conn:
            yield conn
    except psycopg.Error as error:
        if fault_of(error) is Fault.REQUEST:
            raise Unstorable(f"the database does not take it: {reason_of(error)}") from error
        raise StoreAway(f"the database is away: {reason_of(error)}") from error
