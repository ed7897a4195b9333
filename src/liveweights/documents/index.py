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


class Indexed(msgspec.Struct, frozen=True, kw_only=True):
    """What reading a folder came to, in documents."""

    name: str
    new: int = 0
    changed: int = 0
    same: int = 0
    gone: int = 0
    skipped: tuple[Skipped, ...] = ()


PUT = """
insert into document_folders (name, place, tenants) values (%s, %s, %s)
on conflict (name) do update
    set place = excluded.place, tenants = excluded.tenants, indexed_at = now()
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
    tenants: Sequence[str] = (),
    each: Callable[[int, int], None] = lambda done, of: None,
) -> Indexed:
    """Read the folder's files, in one transaction: what is new or has changed since it was read
    last, and without what is gone. ``folder`` is absolute; ``each`` is told of each file: how many
    are done, of how many.

    Raises OSError.
    """
    files = list_files(folder)
    skipped: list[Skipped] = []
    counts = {"new": 0, "changed": 0, "same": 0}
    kept: list[str] = []
    async with conn.transaction():
        await conn.execute(PUT, (name, str(folder), list(tenants)))
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
    return Indexed(name=name, gone=gone.rowcount, skipped=tuple(skipped), **counts)


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
