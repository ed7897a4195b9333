"""Parts of a schema, with what they refer to."""

from __future__ import annotations

from typing import Any

import pytest

from liveweights.http.errors import ApiError
from liveweights.serve.api.syntax.protocol import Function
from liveweights.serve.api.syntax.references import detach, resolve, resolve_choices
from liveweights.serve.api.syntax.tagged import Tagging

TEXT = {"type": "string"}


def test_a_part_takes_along_what_it_refers_to_and_nothing_else() -> None:
    a = {"type": "object", "properties": {"$ref": {"$ref": "#/$defs/b"}, "enum": TEXT}}
    b = {"anyOf": [{"$ref": "#/$defs/a"}, {"$ref": "#/x/0/y~1z"}]}
    root = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "$defs": {"a": a, "b": b, "c": TEXT},
        "x": [{"y/z": {"const": {"$ref": "#/$defs/c"}}}],
    }
    assert detach({"$ref": "#/$defs/a", "default": 1}, root) == {
        "$schema": root["$schema"],
        "$ref": "#/$defs/0",
        "default": 1,
        "$defs": {
            "0": {"type": "object", "properties": {"$ref": {"$ref": "#/$defs/1"}, "enum": TEXT}},
            "1": {"anyOf": [{"$ref": "#/$defs/0"}, {"$ref": "#/$defs/2"}]},
            "2": {"const": {"$ref": "#/$defs/c"}},
        },
    }


@pytest.mark.parametrize(
    "schema",
    [True, None, [{"$ref": "#"}], TEXT, {"$ref": "#/$defs/no"}, {"$ref": "#name"}, {"$ref": 1}],
)
def test_what_refers_to_nothing_stays(schema: Any) -> None:
    root = {"$defs": {}}
    assert detach(schema, root) == resolve(schema, root) == schema


def test_a_circle_and_a_long_chain_come_to_an_end() -> None:
    links = {str(i): {"$ref": f"#/$defs/{i + 1}"} for i in range(500)}
    root = {"$defs": {"a": {"$ref": "#/$defs/a"}, **links, "500": TEXT}}
    assert "$ref" in resolve({"$ref": "#/$defs/a"}, root)
    assert "$ref" in resolve({"$ref": "#/$defs/0"}, root)
    assert resolve({"$ref": "#/$defs/495", "title": "T"}, root) == {**TEXT, "title": "T"}
    assert len(detach({"$ref": "#/$defs/0"}, root)["$defs"]) == 501
    twice = {"anyOf": [{"$ref": "#/$defs/t"}] * 2}
    assert resolve_choices({"$ref": "#/$defs/t"}, {"$defs": {"t": twice}}) == {"anyOf": [twice] * 2}
    many = {"$defs": {"t": {"anyOf": [TEXT] * 500}}}
    assert resolve_choices({"$ref": "#/$defs/t"}, many) == {"$ref": "#/$defs/t"}


def test_what_many_arguments_share_is_bounded() -> None:
    shared = {"type": "object", "properties": {f"p{i}": {"type": "integer"} for i in range(500)}}
    properties = {f"a{i}": {"$ref": "#/$defs/shared"} for i in range(500)}
    function = Function("f", "", {"properties": properties, "$defs": {"shared": shared}}, True)
    with pytest.raises(ApiError, match="share definitions"):
        Tagging("<f>", "<{}>", "</>", "</f>").rules(0, function)
