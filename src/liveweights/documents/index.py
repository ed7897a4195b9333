"""Which folders there are, and their documents as rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

import msgspec

from liveweights.documents.files import File, Skipped, cut, list_files, read_file
from liveweights.store.database import Connection


class Folder(msgspec.Struct, frozen=True, kw_only=True):
    """``tenants`` are those whose models may search it; none: everybody's."""

    name: str
    place: str
    tenants: list[str]
    documents: int
    characters: int
    indexed_at: datetime


class OtherPlace(ValueError):
    """The name stands for another folder; says which, and what to do."""


class Indexed(msgspec.Struct, frozen=True, kw_only=True):
    """What reading a folder came to, in documents. ``tenants`` are as ``Folder`` has them."""

    name: str
    tenants: tuple[str, ...] = ()
    new: int = 0
    changed: int = 0
    same: int = 0
    gone: int = 0
    skipped: tuple[Skipped, ...] = ()


PUT = """
insert into document_folders as f (name, place, tenants)
values (%(name)s, %(place)s, coalesce(%(tenants)s::text[], '{}'))
on conflict (name) do update
    set tenants = coalesce(%(tenants)s::text[], f.tenants), indexed_at = now()
    where f.place = excluded.place
returning tenants
"""
STORE = """
insert into documents (folder, path, title, digest, body) values (%s, %s, %s, %s, %s)
on conflict (folder, path) do update
    set title = excluded.title, digest = excluded.digest, body = excluded.body
returning id
"""
STORE_PASSAGE = """
insert into passages (document, start, body, words)
values (%s, %s, %s, setweight(to_tsvector('english', %s), 'A') || to_tsvector('english', %s)
    || to_tsvector('simple', %s))
"""
LIST = """
select f.name, f.place, f.tenants, count(d.id), coalesce(sum(length(d.body)), 0), f.indexed_at
from document_folders f left join documents d on d.folder = f.name
group by f.name order by f.name
"""


async def add_folder(
    conn: Connection,
    folder: Path,
    *,
    name: str,
    tenants: Sequence[str] | None = None,
    each: Callable[[int, int], None] = lambda done, of: None,
) -> Indexed:
    """Read the folder's files, in one transaction: what is new or has changed since it was read
    last, and without what is gone. ``folder`` is absolute; ``tenants`` are as ``Folder`` has them,
    None those that it has, of a new one everybody; ``each`` is told of each file: how many are
    done, of how many.

    Raises OSError, OtherPlace.
    """
    files = list_files(folder)
    skipped: list[Skipped] = []
    counts = {"new": 0, "changed": 0, "same": 0}
    kept: list[str] = []
    async with conn.transaction():
        may_search = await _put(conn, name, str(folder), tenants)
        cursor = await conn.execute("select path, digest from documents where folder = %s", (name,))
        known = dict(await cursor.fetchall())
        for done, place in enumerate(files, 1):
            file = read_file(folder, place)
            if isinstance(file, Skipped):
                skipped.append(file)
            else:
                kept.append(file.path)
                before = known.get(file.path)
                if before == file.digest:
                    counts["same"] += 1
                else:
                    await _store(conn, name, file)
                    counts["new" if before is None else "changed"] += 1
            each(done, len(files))
        gone = await conn.execute(
            "delete from documents where folder = %s and not path = any(%s)", (name, kept)
        )
    return Indexed(
        name=name,
        tenants=may_search,
        gone=gone.rowcount,
        skipped=tuple(skipped),
        **counts,
    )


async def _put(
    conn: Connection, name: str, place: str, tenants: Sequence[str] | None
) -> tuple[str, ...]:
    """The folder's row; whose models may search it."""
    values = {
        "name": name,
        "place": place,
        "tenants": None if tenants is None else list(tenants),
    }
    row = await (await conn.execute(PUT, values)).fetchone()
    if row is not None:
        return tuple(row[0])
    cursor = await conn.execute("select place from document_folders where name = %s", (name,))
    other = await cursor.fetchone()
    assert other is not None  # it is locked by what has just conflicted with it
    raise OtherPlace(
        f"{name!r} is {other[0]} already: give this one another name with --name, or take that one "
        f"out first (liveweights documents remove {name}), and say anew whose models may search it"
    )


async def _store(conn: Connection, folder: str, file: File) -> None:
    values = (folder, file.path, file.title, file.digest, file.body)
    row = await (await conn.execute(STORE, values)).fetchone()
    assert row is not None
    await conn.execute("delete from passages where document = %s", row)
    async with conn.cursor() as cursor:
        await cursor.executemany(
            STORE_PASSAGE,
            [(row[0], start, body, file.title, body, body) for start, body in cut(file.body)],
        )


async def list_folders(conn: Connection) -> list[Folder]:
    cursor = await conn.execute(LIST)
    names = Folder.__struct_fields__
    return [
        Folder(**dict(zip(names, row, strict=True)))  # pyright: ignore[reportArgumentType]
        for row in await cursor.fetchall()
    ]


async def remove_folder(conn: Connection, name: str) -> bool:
    """Whether there was one; its files stay where they are."""
    cursor = await conn.execute("delete from document_folders where name = %s", (name,))
    return bool(cursor.rowcount)
