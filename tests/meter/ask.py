"""Runs one coroutine on a connection of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import psycopg

from liveweights.store.database import Connection

T = TypeVar("T")


def ask(dsn: str, work: Callable[[Connection], Awaitable[T]]) -> T:
    async def run() -> T:
        async with await psycopg.AsyncConnection.connect(dsn) as conn:
            return await work(conn)

    return asyncio.run(run())
