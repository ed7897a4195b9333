from __future__ import annotations

import json
import math
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import postgres
from psycopg.types.json import Jsonb

from liveweights.store.values import DEEPEST, LARGEST, convert

OID = {name: postgres.types[name] for name in ("bool", "int8", "float8", "json", "jsonb", "text")}


def one(text: str, name: str) -> Any:
    return convert(text, OID[name].oid)


def many(text: str, name: str) -> Any:
    return convert(text, OID[name].array_oid)


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("t", "bool", True),
        ("f", "bool", False),
        (str(LARGEST), "int8", LARGEST),
        (str(LARGEST + 1), "int8", str(LARGEST + 1)),
        (str(-LARGEST - 1), "int8", str(-LARGEST - 1)),
        ("1e+300", "float8", 1e300),
        ("NaN", "float8", "NaN"),
        ("-Infinity", "float8", "-Infinity"),
        ("1.50", "text", "1.50"),
        ('{"a": [1, 1.5, null, "x"]}', "jsonb", {"a": [1, 1.5, None, "x"]}),
        ('{"a":1,"a":2}', "json", '{"a":1,"a":2}'),
        ('"\\ud800"', "json", '"\\ud800"'),
        ('{"\\udfff": 1}', "json", '{"\\udfff": 1}'),
        ("[1.00000000000000000001]", "jsonb", "[1.00000000000000000001]"),
        ("1e400", "json", "1e400"),
        ("1e-9999999999999999999", "json", "1e-9999999999999999999"),
        ("9007199254740993", "jsonb", "9007199254740993"),
        ("9" * 5000, "jsonb", "9" * 5000),
        ("[" * 6000 + "]" * 6000, "jsonb", "[" * 6000 + "]" * 6000),
        ("[" * (DEEPEST + 1) + "]" * (DEEPEST + 1), "jsonb", "[" * 65 + "]" * 65),
    ],
)
def test_a_value_is_itself_or_its_text(text: str, name: str, value: object) -> None:
    found = one(text, name)
    assert (found, type(found)) == (value, type(value))


def test_json_is_given_as_json_up_to_a_depth() -> None:
    value = one("[" * DEEPEST + "]" * DEEPEST, "jsonb")
    for _ in range(DEEPEST - 1):
        (value,) = value
    assert value == []


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("{}", "int8", []),
        ("{1,NULL,-3}", "int8", [1, None, -3]),
        ("{{1,2},{3,4}}", "float8", [[1.0, 2.0], [3.0, 4.0]]),
        ("{NaN,1}", "float8", ["NaN", 1.0]),
        (
            '{a,NULL,"NULL","a\\"b\\\\c","","x,y","{}"}',
            "text",
            ["a", None, "NULL", 'a"b\\c', "", "x,y", "{}"],
        ),
        ("[2:3]={1,2}", "int8", "[2:3]={1,2}"),
        ('{"{\\"a\\": 1}","[1e400]"}', "jsonb", [{"a": 1}, "[1e400]"]),
        ("{t,f}", "bool", [True, False]),
    ],
)
def test_an_array_is_a_list_where_a_list_holds_it(text: str, name: str, value: object) -> None:
    assert many(text, name) == value


def test_a_type_that_nobody_knows_is_text() -> None:
    assert convert("(1,2)", 99_999) == "(1,2)"


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\0")),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.text(st.characters(codec="utf-8", exclude_characters="\0")), inner, max_size=4
        )
    ),
    max_leaves=20,
)
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"))
VALUES = {
    "int8": st.integers(-(2**63), 2**63 - 1),
    "float8": st.floats(),
    "text": TEXTS,
    "bool": st.booleans(),
    "numeric": st.decimals(allow_nan=False, allow_infinity=False, places=5),
}


def text_of(conn: psycopg.Connection[Any], query: str, value: object) -> tuple[str, int]:
    """What Postgres writes, and the oid of its type."""
    cursor = conn.execute(query.encode(), (value,))
    result = cursor.pgresult
    assert result is not None
    data = result.get_value(0, 0)
    assert data is not None
    return data.decode(), result.ftype(0)


def agrees(found: object, value: object, text: str) -> bool:
    """Equal, or the text: never something else."""
    if isinstance(found, str) and not isinstance(value, str):
        return found == text
    return found == value


@pytest.fixture(scope="module")
def conn(postgres: str) -> Any:
    with psycopg.connect(postgres, autocommit=True) as connection:
        yield connection


many_examples = settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])


@many_examples
@given(value=JSON)
def test_any_json_comes_back(conn: psycopg.Connection[Any], value: Any) -> None:
    text, oid = text_of(conn, "select %s::jsonb", Jsonb(value))
    found = convert(text, oid)
    assert found == text or (found == value and json.loads(json.dumps(found)) == found)


@many_examples
@given(data=st.data())
def test_any_value_of_a_type_comes_back(conn: psycopg.Connection[Any], data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(VALUES)))
    value = data.draw(VALUES[name])
    text, oid = text_of(conn, f"select %s::{name}", value)
    found = convert(text, oid)
    if isinstance(value, float) and not math.isfinite(value):
        assert found == text
    elif isinstance(value, Decimal):
        assert Decimal(found) == value
    else:
        assert agrees(found, value, text)


@many_examples
@given(data=st.data())
def test_any_array_comes_back(conn: psycopg.Connection[Any], data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(["int8", "text", "bool"]))
    values = data.draw(st.lists(st.none() | VALUES[name], max_size=6))
    text, oid = text_of(conn, f"select %s::{name}[]", values)
    found = convert(text, oid)
    assert len(found) == len(values)
    assert all(agrees(a, b, str(b)) for a, b in zip(found, values, strict=True))
