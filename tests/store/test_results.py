from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import msgspec
import psycopg
import pytest
from psycopg import errors

from liveweights.store.results import Bounds, Result, Unreadable, encode, run


@pytest.fixture
def ask(postgres: str) -> Iterator[Any]:
    """Runs statements, on one connection for the whole test."""
    loop = asyncio.new_event_loop()
    conn = loop.run_until_complete(psycopg.AsyncConnection.connect(postgres, autocommit=True))

    def ask(text: str, most: Bounds | None = None) -> list[Result]:
        return loop.run_until_complete(run(conn, text, most))

    yield ask
    loop.run_until_complete(conn.close())
    loop.close()


def value(found: list[Result]) -> Any:
    return found[-1].rows[0][0]


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        ("'infinity'::timestamptz", "infinity"),
        ("'-infinity'::date", "-infinity"),
        ("'infinity'::interval", "infinity"),
        ("'294276-12-31 23:59:59'::timestamp", "294276-12-31 23:59:59"),
        ("'20000-01-01'::date", "20000-01-01"),
        ("'4713-01-01 BC'::date", "4713-01-01 BC"),
        ("'24:00'::time", "24:00:00"),
        ("'00:00+15:59'::timetz", "00:00:00+15:59"),
        ("'1 year 2 mons -3 days 04:05:06.789'::interval", "1 year 2 mons -3 days +04:05:06.789"),
        ("'NaN'::numeric", "NaN"),
        ("1e130000::numeric", "1" + "0" * 130_000),
        ("'\\x00ff'::bytea", "\\x00ff"),
        ("row(1, 'a,b', null)", '(1,"a,b",)'),
        ("'[1,3)'::int4range", "[1,3)"),
        ("'192.168.0.1/24'::inet", "192.168.0.1/24"),
        ("'1.5'::money", "$1.50"),
        ("B'101'", "101"),
        ("'a b'::tsvector", "'a' 'b'"),
        ("(repeat('[', 6000) || repeat(']', 6000))::jsonb", "[" * 6000 + "]" * 6000),
        ('\'{"a": "\\u0000"}\'::json', {"a": "\0"}),
        ("chr(128512)", "\U0001f600"),
    ],
)
def test_what_postgres_holds_comes_as_it_is(ask: Any, expression: str, text: object) -> None:
    found = value(ask(f"select {expression}"))
    assert found == text
    assert msgspec.json.decode(msgspec.json.encode(found)) == found


def test_every_builtin_type_has_a_form(ask: Any) -> None:
    """An empty array and a null of each, and what the catalogue itself holds."""
    for (name,) in ask(
        "select format_type(oid, null) from pg_type where typtype = 'b' and typcategory <> 'P'"
        " and typname !~ '^(pg_|_)|aclitem|gtsvector' and typnamespace = 'pg_catalog'::regnamespace"
    )[0].rows:
        assert value(ask(f"select array[]::{name}[]" if name != '"char"' else "select '{}'")) in (
            [],
            "{}",
        )
        assert value(ask(f"select null::{name}")) is None
    assert len(ask("select * from pg_class, pg_index limit 50")[0].rows) == 50
    assert len(ask("select * from pg_statistic limit 50")[0].rows) == 50
    assert len(ask("select * from pg_proc limit 200")[0].rows) == 200


def test_the_encoding_may_be_another_but_nothing_is_read_wrongly(ask: Any) -> None:
    assert value(ask("set client_encoding = 'LATIN1'; select 'plain'")) == "plain"
    assert value(ask("select 'é'")) == "é"
    found = ask("select 'ü' as \"ö\"")[0]
    assert (list(found.columns), found.rows) == (["ö"], [("ü",)])
    with pytest.raises(Unreadable, match=r"character 9 .* not in the session's encoding"):
        ask("select '€'")
    with pytest.raises(errors.UntranslatableCharacter):
        ask("select chr(8364)")
    with pytest.raises(Unreadable, match="client_encoding"):
        ask("select 'é'; set client_encoding = 'UTF8'; select 'é'")
    ask("set client_encoding = 'UTF8'")
    for change in (
        "set client_encoding = 'LATIN1'",
        "set names 'LATIN1'",
        "SET SESSION NAMES 'latin1'",
    ):
        # In UTF-8 these two bytes would be another character.
        with pytest.raises(Unreadable, match="client_encoding"):
            ask(f"{change}; select chr(195) || chr(169); set client_encoding = 'UTF8'")
    ask("set client_encoding = 'SQL_ASCII'")
    assert value(ask("select '€'")) == "€"
    ask("set client_encoding = 'EUC_TW'")
    assert value(ask("select 'a'")) == "a"
    with pytest.raises(Unreadable, match="encoding"):
        ask("select chr(20013)")
    ask("set client_encoding = 'UTF8'")
    assert value(ask("select '中'")) == "中"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("select 'a'\0; drop table t", "character 11 of the statement is NUL"),
        ("select '\ud800'", "character 9 of the statement is half of a surrogate pair"),
        ("\udfff", "character 1 of the statement is half of a surrogate pair"),
    ],
)
def test_what_cannot_be_sent_is_not_cut(ask: Any, text: str, why: str) -> None:
    with pytest.raises(Unreadable, match=why):
        ask(text)
    assert value(ask("select 1")) == 1


def test_encode() -> None:
    assert encode("é€") == "é€".encode()
    with pytest.raises(Unreadable, match="iso8859-1"):
        encode("€", "iso8859-1")


def test_the_connection_goes_on_after_what_cannot_be_answered(ask: Any) -> None:
    ask("create temporary table t (a int)")
    for text, why in (
        ("copy (select generate_series(1, 100000)) to stdout", "COPY"),
        ("copy t from stdin", "COPY"),
        ("begin; declare c binary cursor for select 1; fetch c", "BINARY"),
    ):
        with pytest.raises(Unreadable, match=why):
            ask(text)
        ask("rollback")
        assert value(ask("select 1")) == 1
    with pytest.raises(errors.DivisionByZero):
        ask("insert into t values (1); select 1 / 0")
    assert value(ask("select count(*) from t")) == 0


def test_each_statement_gives_a_result(ask: Any) -> None:
    found = ask(
        "create temporary table u (a int); insert into u values (1), (2);; select 1 as x, 2 as x"
    )
    assert [result.status for result in found] == ["CREATE TABLE", "INSERT 0 2", "SELECT 1"]
    assert (list(found[2].columns), found[2].rows) == (["x", "x"], [(1, 2)])
    assert ask("") == []


def test_no_more_is_kept_than_wanted(ask: Any) -> None:
    found = ask("select generate_series(1, 10); select 'x'", Bounds(rows=3))
    assert [(len(one.rows), one.truncated) for one in found] == [(3, True), (1, False)]
    text = "select repeat('x', 400) from generate_series(1, 5); select repeat('y', 400); select 1"
    found = ask(text, Bounds(size=1000))
    assert [(len(one.rows), one.truncated) for one in found] == [(2, True), (0, True), (1, False)]
