"""Roles and rights in Postgres: the walls between the databases.

Four roles without login are shared by all databases. ``agents`` says who is admitted at all.
``agents_owner`` owns every object that an agent makes, in every database; so a copy of a database
needs no change of owners. ``agents_reader`` may read them; ``agents_reducer`` may also take away.

Each database ``db_x`` has a role ``db_x``, which alone may connect to it, and two logins that are
members of it: ``db_x_rw``, which acts as ``agents_owner``, and ``db_x_ro``, which inherits from
``agents_reader``. ``pg_hba.conf`` asks the same once more: a login reaches only the database whose
name is that of a role it is a member of.

The shared roles own nothing outside the databases, and no agent is superuser, owner of its
database, or able to hand on its rights: it can change no limit of its own.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
from collections.abc import Sequence

from psycopg import errors, sql

from liveweights.agentdb.rows import Database, Level, State
from liveweights.store.database import Connection

AGENTS = "agents"
OWNER = "agents_owner"
READER = "agents_reader"
REDUCER = "agents_reducer"

HBA: Sequence[str] = (
    f"local samerole +{AGENTS} scram-sha-256",
    f"host samerole +{AGENTS} 127.0.0.1/32 scram-sha-256",
)

SHARED = f"""
do $$ begin
    if not exists (select from pg_roles where rolname = '{REDUCER}') then
        create role {AGENTS} nologin;
        create role {OWNER} nologin;
        create role {READER} nologin;
        create role {REDUCER} nologin;
    end if;
end $$;
revoke all on database liveweights, postgres, template1 from public;
"""
"""Run once by the superuser, in the control database."""

BASE = f"""
alter schema public owner to {OWNER};
revoke all on schema public from public;
grant usage on schema public to {READER}, {REDUCER};
alter default privileges for role {OWNER} grant usage on schemas to {READER}, {REDUCER};
alter default privileges for role {OWNER} grant select on sequences to {READER}, {REDUCER};
alter default privileges for role {OWNER} grant select on tables to {READER};
alter default privileges for role {OWNER}
    grant select, delete, truncate, maintain on tables to {REDUCER};
revoke execute on function lo_create(oid), lo_creat(int), lo_from_bytea(oid, bytea) from public;
grant execute on function lo_create(oid), lo_creat(int), lo_from_bytea(oid, bytea) to {OWNER};
revoke execute on function
    pg_logical_emit_message(boolean, text, text, boolean),
    pg_logical_emit_message(boolean, text, bytea, boolean),
    pg_export_snapshot() from public;
revoke execute on function pg_notify(text, text) from public;
grant execute on function pg_notify(text, text) to {OWNER};
"""
"""What every database has from the first: run in the one that all others are copies of.

Large objects, log messages, notifications and exported snapshots would let a reader write.
"""


def login_of(identifier: str, *, read_only: bool) -> str:
    return f"{identifier}_ro" if read_only else f"{identifier}_rw"


def password_of(secret: str, login: str) -> str:
    """Derived, so that it is kept nowhere: HMAC-SHA-256 of the login under the folder's secret."""
    return hmac.new(secret.encode(), login.encode(), hashlib.sha256).hexdigest()[:40]


def _compose(text: str, **parts: str) -> sql.Composed:
    names = {key: sql.Identifier(value) for key, value in parts.items()}
    return sql.SQL(text).format(**names)  # pyright: ignore[reportArgumentType]


def _logins(identifier: str) -> dict[str, str]:
    return {
        "db": identifier,
        "rw": login_of(identifier, read_only=False),
        "ro": login_of(identifier, read_only=True),
    }


async def create(conn: Connection, identifier: str, secret: str, connections: int) -> None:
    """Make the three roles of a database."""
    names = _logins(identifier)
    async with conn.transaction():
        for role in names.values():
            await conn.execute(_compose("create role {role} noinherit", role=role))
        await conn.execute(
            _compose(
                "grant {db} to {rw}, {ro} with inherit true, set false;"
                f"grant {AGENTS} to {{rw}}, {{ro}} with inherit false, set false;"
                f"grant {READER} to {{ro}} with inherit true, set false",
                **names,
            )
        )
        await set_passwords(conn, identifier, secret)
        for login in (names["rw"], names["ro"]):
            limit = sql.Literal(connections)
            await conn.execute(_compose("alter role {r} connection limit ", r=login) + limit)


async def set_passwords(conn: Connection, identifier: str, secret: str) -> None:
    """Give the logins their derived passwords, again if they have been changed.

    The server gets only what it keeps (the SCRAM verifier), so no password is in a log.
    """
    for read_only in (False, True):
        login = login_of(identifier, read_only=read_only)
        verifier = conn.pgconn.encrypt_password(
            password_of(secret, login).encode(), login.encode(), b"scram-sha-256"
        )
        await conn.execute(
            _compose("alter role {login} login password ", login=login)
            + sql.Literal(verifier.decode())
        )


async def settle(conn: Connection, database: Database) -> None:
    """Make Postgres's catalogue say what the row says: call it in the row's transaction.

    It leaves the sessions alone; ``terminate`` ends those that have other rights.
    """
    names = _logins(database.id)
    await conn.execute(
        _compose(
            f"alter database {{db}} allow_connections {database.admits} "
            f"is_template {database.state is State.FROZEN};"
            # What is raised, planned or failed in it goes to the client only, not to the log.
            "alter database {db} set log_min_messages = fatal;"
            f"alter database {{db}} set temp_file_limit = '{database.size_limit // 1024}kB';"
            "revoke all on database {db} from public;"
            "grant connect on database {db} to {db};"
            f"grant create, temporary on database {{db}} to {OWNER};"
            "alter role {ro} reset all; alter role {rw} reset all",
            **names,
        )
    )
    # Last, as it locks what all databases share; all else may have to wait for a session.
    if database.level is Level.OPEN:
        rights = (
            f"alter role {{rw}} set role = '{OWNER}';"
            f"revoke {REDUCER} from {{rw}}; grant {OWNER} to {{rw}} with inherit false, set true"
        )
    else:
        rights = (
            f"revoke {OWNER} from {{rw}}; grant {REDUCER} to {{rw}} with inherit true, set false"
        )
    await conn.execute(_compose(rights, **names))


async def close(conn: Connection, identifier: str) -> None:
    """Let nobody into a database any more, and end every session in it."""
    await conn.execute(_compose("alter database {db} allow_connections false", db=identifier))
    await terminate(conn, identifier)


async def terminate(conn: Connection, identifier: str) -> None:
    """End every session in a database, and wait until they are gone."""
    await conn.execute(
        "select pg_terminate_backend(pid, 5000) from pg_stat_activity where datname = %s",
        (identifier,),
    )


async def drop(conn: Connection, identifier: str) -> None:
    """Remove the roles of a database that is gone.

    Another database's owner may have granted something to one of them, which keeps Postgres from
    removing it; then it may no longer log in, and ``drop_retired`` removes it when it can.
    """
    for role in reversed(_logins(identifier).values()):
        try:
            await conn.execute(_compose("drop role if exists {role}", role=role))
        except errors.DependentObjectsStillExist:
            await conn.execute(_compose("alter role {role} nologin password null", role=role))


async def drop_retired(conn: Connection) -> None:
    """Remove roles that outlived their databases and that nothing mentions any more."""
    cursor = await conn.execute(
        "select rolname from pg_roles r where rolname ~ '^db_[0-9a-f]{12}(_r[wo])?$'"
        " and not exists (select from databases where id = left(rolname, 15))"
        " and not exists (select from pg_shdepend where refobjid = r.oid"
        " and refclassid = 'pg_authid'::regclass)"
    )
    for (role,) in await cursor.fetchall():
        # Granted to this very moment.
        with contextlib.suppress(errors.DependentObjectsStillExist, errors.LockNotAvailable):
            await conn.execute(_compose("drop role if exists {role}", role=role))
