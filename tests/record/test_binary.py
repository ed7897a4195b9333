from __future__ import annotations

import struct
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from liveweights.record.binary import SIGNATURE, STORED, TRAILER, complete, encode
from liveweights.record.columns import GENERATION, generation_from
from liveweights.record.generation import Counts, Generation

from .rows import make_generation

texts = st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]), max_size=9)
ids = st.lists(st.integers(-(2**31), 2**31 - 1), max_size=5)
float4s = st.integers(-9999, 9999).map(lambda n: n / 8)  # exact in float4, in text too


@st.composite
def generations(draw: st.DrawFn) -> Generation:
    output_ids = draw(ids)
    logprobs = st.lists(float4s, min_size=len(output_ids), max_size=len(output_ids))
    changes: dict[str, Any] = {
        "created_at": draw(st.datetimes(datetime(1900, 1, 1), timezones=st.just(UTC))),
        "prompt_ids": draw(ids),
        "output_ids": output_ids,
        "logprobs": draw(logprobs),
        "raw_logprobs": draw(logprobs),
        "output": draw(texts),
        "temperature": draw(float4s),
        "seed": draw(st.none() | st.integers(-(2**63), 2**63 - 1)),
        "max_tokens": draw(st.integers(-(2**31), 2**31 - 1)),
        "user": draw(st.none() | texts),
        "session": draw(st.none() | texts),
        "surface": draw(texts),
        "consent": draw(st.booleans()),
        "total_ms": draw(float4s),
        "metadata": draw(st.dictionaries(texts, texts, max_size=2)),
        "shaping": draw(st.dictionaries(texts, st.lists(texts, max_size=2), max_size=2)),
        "experts": draw(st.none() | st.binary(max_size=20)),
    }
    return make_generation("g" + draw(texts), **changes)


@settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(generations(), min_size=1, max_size=3))
def test_postgres_reads_what_was_encoded(database_dsn: str, some: list[Generation]) -> None:
    unique = list({g.id: g for g in some}.values())
    with psycopg.connect(database_dsn) as conn, conn.cursor() as cursor:
        names = ", ".join(STORED)
        with cursor.copy(f"copy generations ({names}) from stdin (format binary)".encode()) as copy:
            copy.write(complete([encode(g) for g in unique], range(len(unique))))
        cursor.execute(f"select {', '.join(GENERATION)} from generations".encode())
        found = {row[0]: generation_from(row) for row in cursor.fetchall()}
        conn.rollback()
    assert found == {g.id: g for g in unique}


@pytest.mark.parametrize(
    "change",
    [{"total_ms": {"not": "a number"}}, {"max_tokens": "8"}, {"output": None, "alias": 3}],
)
def test_what_is_not_of_its_type_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises((TypeError, ValueError)):
        encode(replace(make_generation("g"), **change))


def test_the_cost_follows_the_row() -> None:
    row = encode(make_generation("g"))
    assert complete([row, row], [7, -8]) == b"".join(
        (
            SIGNATURE,
            row.data,
            struct.pack(">iq", 8, 7),
            row.data,
            struct.pack(">iq", 8, -8),
            TRAILER,
        )
    )


def test_counts_are_the_upstreams_where_it_has_them() -> None:
    usage = {"prompt_tokens": 9, "cached_tokens": 12, "reasoning_tokens": 1, "requests": 0}
    counts = encode(make_generation("g", usage=usage)).counts
    assert counts == Counts(9, 2, cached=9, reasoning=1, requests=0, sent=None)
    assert encode(make_generation("g", usage={"sent_tokens": 1})).counts.sent == 1
