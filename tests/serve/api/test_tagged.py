"""Which values of arguments between tags are texts, and how they are written."""

from __future__ import annotations

import json
from typing import Any

import pytest

from liveweights.serve.api.syntax.tagged import make_call

STRING, NULL = {"type": "string"}, {"type": "null"}
NULLABLE = [
    {"type": ["string", "null"]},
    {"anyOf": [STRING, NULL]},
    {"oneOf": [{"anyOf": [STRING]}, NULL], "default": None},
]


def read(text: str, schema: Any) -> Any:
    calls = make_call("f", [("a", text)], {"f": {"properties": {"a": schema}}})
    assert calls is not None
    return json.loads(calls[0].arguments)["a"]


@pytest.mark.parametrize("schema", [STRING, *NULLABLE])
@pytest.mark.parametrize("text", ["12345", "[1]", "true", '"quoted"', "plain", "NaN", "1e3"])
def test_a_text_stays_one(schema: Any, text: str) -> None:
    assert read(text, schema) == text


@pytest.mark.parametrize("schema", NULLABLE)
def test_null_is_null_where_it_may_be(schema: Any) -> None:
    assert read("null", schema) is None
    assert read("null", STRING) == "null"


@pytest.mark.parametrize(
    ("schema", "text", "value"),
    [
        ({"type": ["string", "integer"]}, "12", 12),
        ({"type": ["string", "integer"]}, "1.5", "1.5"),
        ({"type": ["string", "integer"]}, "true", "true"),
        ({"type": ["string", "number"]}, "12", 12),
        ({"anyOf": [STRING, {"type": "array"}]}, "[1]", [1]),
        ({"anyOf": [STRING, {"type": "array"}]}, "{}", "{}"),
        ({"anyOf": [STRING, {"type": "array"}]}, '"a"', "a"),
        ({"enum": ["1", None]}, "1", "1"),
        ({"enum": ["1", None]}, "null", None),
        ({"enum": ["a", 1]}, "1", 1),
        ({"const": "1"}, "1", "1"),
        ({"type": "integer"}, "12", 12),
        ({"type": "integer"}, "NaN", "NaN"),
        ({}, "12", 12),
        ({"$ref": "#/$defs/x"}, "12", 12),
        (True, "12", 12),
    ],
)
def test_what_a_schema_admits_decides(schema: Any, text: str, value: Any) -> None:
    assert read(text, schema) == value


COLOR = {"type": "string", "enum": ["1", "red"]}


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#/$defs/Color", "description": "Of the wall."},
        {"anyOf": [{"$ref": "#/$defs/Color"}, NULL]},
        {"$ref": "#/$defs/Either"},
    ],
)
def test_what_a_schema_refers_to_decides(schema: Any) -> None:
    either = {"oneOf": [{"$ref": "#/$defs/Color"}, NULL]}
    definitions = {"Color": COLOR, "Either": either, "Circle": {"$ref": "#/$defs/Circle"}}
    told = {"properties": {"a": schema}, "$defs": definitions}
    for root in (told, {"$ref": "#/$defs/Told", "$defs": {**definitions, "Told": told}}):
        calls = make_call("f", [("a", "1")], {"f": root})
        assert calls is not None
        assert json.loads(calls[0].arguments)["a"] == "1"


def test_half_a_surrogate_within_json() -> None:
    assert read(r'["\ud83d"]', {"type": "array"}) == ["\ufffd"]
