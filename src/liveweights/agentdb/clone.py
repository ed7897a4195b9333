"""How a database is copied, chosen by what the file system offers."""

from __future__ import annotations

from enum import StrEnum

from psycopg import sql

from liveweights.store.database import Connection

SMALL = 64 * 2**20
"""Bytes. Below it, writing a copy to the log is quicker than opening and syncing each file."""


class Strategy(StrEnum):
    """See CREATE DATABASE and file_copy_method in the manual of Postgres 18."""

    CLONE = "clone"
    """Files share their blocks until one is written (reflink): no time and no disk."""
    LOG = "log"
    """Page by page through the write-ahead log."""
    COPY = "copy"
    """File by file."""


def choose(size: int, *, reflink: bool, durable: bool) -> Strategy:
    """The quickest for a source of ``size`` bytes.

    With ``durable``, every file of a clone is synced, and a database has some three hundred.
    """
    small = size < SMALL
    if reflink and not (durable and small):
        return Strategy.CLONE
    return Strategy.LOG if small else Strategy.COPY


async def copy(conn: Connection, source: str, target: str, strategy: Strategy) -> None:
    """CREATE DATABASE, closed to everybody. Nobody may be connected to ``source``."""
    method = "clone" if strategy is Strategy.CLONE else "copy"
    kind = "wal_log" if strategy is Strategy.LOG else "file_copy"
    await conn.execute(f"set file_copy_method = {method}".encode())
    await conn.execute(
        sql.SQL("create database {} template {} strategy {} allow_connections false").format(
            sql.Identifier(target), sql.Identifier(source), sql.SQL(kind)
        )
    )
