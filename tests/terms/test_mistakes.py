"""What is wrong with a table, in one sentence that names the member."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
import pytest
from msgspec import Meta

from liveweights.terms.mistakes import describe


class _Inner(msgspec.Struct, forbid_unknown_fields=True):
    colours: tuple[Literal["red", "green"], ...] = ()
    code: Annotated[str, Meta(pattern="^[A-Z]+$")] | None = None


class _Outer(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    inner: float | _Inner = 0.0
    many: list[_Inner] | None = None
    inners: tuple[_Inner, ...] = ()


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({}, "it has no 'name', which it needs"),
        ({"name": 3}, "name: expected `str`, got `int`"),
        ({"nam": "x"}, "there is no member 'nam'; did you mean 'name'?"),
        ({"name": "x", "zzz": 1}, "there is no member 'zzz'; there are name, inner, many, inners"),
        ({"name": "x", "inner": {"colors": []}}, "inner: there is no member 'colors'; did you mean "
         "'colours'?"),
        ({"name": "x", "inners": [{}, {"colours": ["red", "gren"]}]}, "inners[1].colours[1]: "
         "'gren' is not among its values; did you mean 'green'?"),
        ({"name": "x", "many": [{"colours": ["blue"]}]}, "many[0].colours[0]: 'blue' is not among "
         "its values; there are red, green"),
        ({"name": "x", "inner": {"code": "a"}}, "inner.code: it must be text like ^[A-Z]+$"),
    ],
)  # fmt: skip
def test_the_member_is_named_with_what_is_like_it(table: dict[str, Any], said: str) -> None:
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.convert(table, _Outer)
    assert describe(caught.value, _Outer) == said
