"""A table's rows as a Parquet file, and back."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from functools import reduce
from importlib.util import find_spec
from operator import and_
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from psycopg import sql

from liveweights.store.database import Connection

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.compute as pc

ROWS = 4096
"""Rows that are in memory at a time."""
Conditions: TypeAlias = list[tuple[str, str, Any]]
"""A column, a comparison (``=``, ``in``, ``has`` a text in it, ``null``) and what with."""


class ParquetUnavailable(RuntimeError):
    """pyarrow is not installed; the message says how to get it."""


def require_parquet() -> None:
    """Raises ParquetUnavailable."""
    if find_spec("pyarrow") is None:
        raise ParquetUnavailable(
            "days are kept as Parquet by pyarrow: pip install 'liveweights[archive]'"
        )


async def write_table(conn: Connection, table: str, day: date, file: Path) -> int:
    """Write every row of ``table`` that is of ``day``, as the caller's transaction sees it; how
    many there are.

    The file is complete or not there.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    names, types = await _columns(conn, table)
    schema = pa.schema([pa.field(n, _arrow(t)) for n, t in zip(names, types, strict=True)])
    # Postgres's own text for what Parquet has no type for.
    chosen = sql.SQL(", ").join(
        sql.SQL("{}::text").format(sql.Identifier(n)) if t == "jsonb" else sql.Identifier(n)
        for n, t in zip(names, types, strict=True)
    )
    partial = file.with_name(f"{file.name}.partial")
    count = 0
    async with conn.cursor(name="archive", binary=True) as cursor:
        cursor.itersize = ROWS
        await cursor.execute(
            sql.SQL("select {} from {} where day = %s").format(chosen, sql.Identifier(table)),
            (day,),
        )
        with pq.ParquetWriter(partial, schema, compression="zstd") as writer:
            while rows := await cursor.fetchmany(ROWS):
                writer.write_batch(_batch(rows, schema))
                count += len(rows)
    with partial.open("rb") as written:
        os.fsync(written.fileno())
    os.replace(partial, file)
    return count


async def read_table(conn: Connection, file: Path, table: str) -> int:
    """Insert every row of the file into ``table``; how many there are."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(file) as source:
        names: list[str] = source.schema_arrow.names
        copy = sql.SQL("copy {} ({}) from stdin").format(
            sql.Identifier(table), sql.SQL(", ").join(map(sql.Identifier, names))
        )
        count = 0
        async with conn.cursor() as cursor, cursor.copy(copy) as target:
            for batch in source.iter_batches(ROWS):
                for row in _rows(batch.to_pydict().values()):
                    await target.write_row(row)
                    count += 1
    return count


async def merge_table(conn: Connection, file: Path, table: str) -> None:
    """Insert those rows of the file into ``table`` that are not there, in the caller's
    transaction."""
    import pyarrow.parquet as pq

    names = sql.SQL(", ").join(map(sql.Identifier, pq.read_schema(file).names))
    into = sql.Identifier(table)
    await conn.execute(
        sql.SQL("create temp table arriving as select {} from {} with no data").format(names, into)
    )
    await read_table(conn, file, "arriving")
    await conn.execute(
        sql.SQL("insert into {} ({}) select {} from arriving on conflict do nothing").format(
            into, names, names
        )
    )
    await conn.execute("drop table arriving")


def find_values(file: Path, columns: Sequence[str], conditions: Conditions) -> set[tuple[Any, ...]]:
    """What the rows of the file that meet all ``conditions`` have in ``columns``."""
    return set(iter_rows(file, columns, conditions))


def iter_rows(
    file: Path, columns: Sequence[str], conditions: Conditions
) -> Iterator[tuple[Any, ...]]:
    """The same, row by row; some thousands are in memory at a time."""
    import pyarrow.dataset as ds

    wanted = reduce(and_, (_expression(*one) for one in conditions))
    source = ds.dataset(file, format="parquet")
    for batch in source.to_batches(columns=list(columns), filter=wanted, batch_size=ROWS):
        yield from _rows(batch.to_pydict().values())


def _expression(column: str, comparison: str, value: Any) -> pc.Expression:
    import pyarrow.compute as pc

    field = pc.field(column)
    match comparison:
        case "=":
            return field == value
        case "in":
            return field.isin(list(value))
        case "has":
            return pc.match_substring(field, value)
        case _:
            return field.is_null()


def iter_values(file: Path, column: str) -> Iterator[list[Any]]:
    """The column's values, some thousands at a time."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(file) as source:
        for batch in source.iter_batches(ROWS, columns=[column]):
            yield batch.column(0).to_pylist()


def hash_of(file: Path) -> str:
    with file.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()


def _rows(columns: Iterable[Sequence[Any]]) -> Iterable[tuple[Any, ...]]:
    return zip(*columns, strict=True)


def _batch(rows: Sequence[Sequence[Any]], schema: pa.Schema) -> pa.RecordBatch:
    import pyarrow as pa

    columns = zip(zip(*rows, strict=True), schema, strict=True)
    arrays = [pa.array(list(values), field.type) for values, field in columns]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


async def _columns(conn: Connection, table: str) -> tuple[list[str], list[str]]:
    cursor = await conn.execute(
        "select attname, format_type(atttypid, null) from pg_attribute"
        " where attrelid = %s::regclass and attnum > 0 and not attisdropped"
        " and attgenerated = '' order by attnum",
        (table,),
    )
    rows = await cursor.fetchall()
    return [name for name, _ in rows], [kind for _, kind in rows]


def _arrow(kind: str) -> pa.DataType:
    import pyarrow as pa

    if kind.endswith("[]"):
        return pa.list_(_arrow(kind[:-2]))
    return {
        "text": pa.string(),
        "jsonb": pa.string(),
        "bytea": pa.binary(),
        "boolean": pa.bool_(),
        "integer": pa.int32(),
        "bigint": pa.int64(),
        "real": pa.float32(),
        "double precision": pa.float64(),
        "date": pa.date32(),
        "timestamp with time zone": pa.timestamp("us", "UTC"),
    }[kind]
