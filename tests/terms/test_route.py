"""What a request may ask of the model that answers it."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from liveweights.terms.route import ANY, MaxPrice, Origins, Route, RouteError, parse_route

WHOLE: dict[str, Any] = {
    "allow": {"countries": ["US", "FR"]},
    "deny": {"makers": ["DeepSeek"], "licence_kinds": ["unknown"]},
    "max_price": {"input": 1, "output": 4.5},
    "min_context": 32000,
    "local_only": True,
    "learnable": True,
    "suite": "code",
    "min_score": 0.5,
    "fallback": ["small"],
}


def test_every_member_is_read() -> None:
    assert parse_route(WHOLE) == Route(
        allow=Origins(countries=("US", "FR")),
        deny=Origins(makers=("DeepSeek",), licence_kinds=("unknown",)),
        max_price=MaxPrice(input=1, output=4.5),
        min_context=32000,
        local_only=True,
        learnable=True,
        suite="code",
        min_score=0.5,
        fallback=("small",),
    )
    assert WHOLE.keys() == set(Route.__struct_fields__)
    assert parse_route({}) == ANY
    assert parse_route({"max_price": 2}).max_price == 2.0


@pytest.mark.parametrize(
    ("route", "said"),
    [
        ([], "expected `object`, got `array`"),
        ({"alow": {}}, "there is no member 'alow'; did you mean 'allow'?"),
        ({"deny": {"country": ["CN"]}}, "deny: there is no member 'country'; did you mean 'count"),
        ({"deny": {"countries": ["cn"]}}, "deny.countries[0]: it must be text like ^([A-Z]{2}|"),
        ({"deny": {"licence_kinds": ["opn"]}}, "deny.licence_kinds[0]: 'opn' is not among its "
         "values; did you mean 'open'?"),
        ({"max_price": -1}, "max_price: expected `float` >= 0.0"),
        ({"max_price": {"prompt": 1}}, "max_price: there is no member 'prompt'; there are input, "),
        ({"min_context": 0}, "min_context: expected `int` >= 1"),
        ({"suite": "code"}, "suite needs min_score beside it"),
        ({"min_score": 0.5}, "min_score needs suite beside it"),
        ({"deny": {"makers": ["x"] * 257}}, "deny.makers: expected `array` of length <= 256"),
        ({"deny": {"countries": ["CN"] * 257}}, "deny.countries: expected `array` of length <= 25"),
        ({"allow": {"licence_kinds": ["open"] * 257}}, "allow.licence_kinds: expected `array` of"),
        ({"fallback": ["x"] * 257}, "fallback: expected `array` of length <= 256"),
        ({"fallback": "small"}, "fallback: expected `array | null`, got `str`"),
    ],
)  # fmt: skip
def test_a_route_that_is_not_understood_is_refused_by_member(route: Any, said: str) -> None:
    with pytest.raises(RouteError) as caught:
        parse_route(route)
    assert str(caught.value).startswith(f"route: {said}")


@given(
    ours=st.sets(st.sampled_from(sorted(WHOLE.keys() - {"min_score"}))),
    theirs=st.sets(st.sampled_from(sorted(WHOLE.keys() - {"min_score"}))),
)
def test_defaults_stand_where_the_request_says_nothing(ours: set[str], theirs: set[str]) -> None:
    other = parse_route({"min_context": 1, "fallback": [], "suite": "math", "min_score": 0.1})
    defaults = parse_route({name: WHOLE[name] for name in _whole(ours)}, other)
    route = parse_route({name: WHOLE[name] for name in _whole(theirs)}, defaults)
    for name in Route.__struct_fields__:
        said = _whole(ours) | _whole(theirs)
        expected = getattr(parse_route(WHOLE), name) if name in said else getattr(other, name)
        assert getattr(route, name) == expected


def _whole(names: set[str]) -> set[str]:
    return names | ({"min_score"} if "suite" in names else set())


@given(
    said=st.dictionaries(
        st.sampled_from(sorted(WHOLE)), st.none() | st.sampled_from([*WHOLE.values(), [], {}])
    ),
    ours=st.booleans(),
)
def test_whatever_is_said_is_read_or_refused(said: dict[str, Any], ours: bool) -> None:
    defaults = parse_route(WHOLE) if ours else ANY
    with suppress(RouteError):
        parse_route({}, parse_route(said, defaults))


@pytest.mark.parametrize("said", [{"suite": None}, {"min_score": None}])
def test_a_suite_and_its_score_are_taken_back_together(said: dict[str, None]) -> None:
    route = parse_route(said, parse_route(WHOLE))
    assert (route.suite, route.min_score) == (None, None)
    assert route.fallback == ("small",)


def test_a_default_may_be_taken_back() -> None:
    defaults = parse_route(WHOLE)
    nothing: dict[str, Any] = {"local_only": False, "max_price": None, "suite": None}
    route = parse_route({**nothing, "min_score": None, "allow": {}}, defaults)
    assert (route.local_only, route.max_price, route.suite) == (False, None, None)
    assert route.allow == Origins()
    assert route.deny == defaults.deny
    assert hash(route) == hash(msgspec.convert(msgspec.to_builtins(route), Route))
