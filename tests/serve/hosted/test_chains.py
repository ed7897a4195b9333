"""The order in which models are asked."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from liveweights.serve.hosted.chains import find_circle, list_chain


def test_fallbacks_bring_their_own_along() -> None:
    fallbacks = {"a": ["b", "c"], "b": ["d", "c"], "c": []}
    assert list_chain("a", fallbacks) == ["a", "b", "d", "c"]
    assert list_chain("d", fallbacks) == ["d"]
    assert find_circle(fallbacks) == []


def test_a_circle_is_found_wherever_it_is() -> None:
    assert find_circle({"a": ["a"]}) == ["a", "a"]
    assert find_circle({"a": ["b"], "b": ["c"], "c": ["d", "b"]}) == ["b", "c", "b"]


NAMES = st.sampled_from("abcdef")


@given(NAMES, st.dictionaries(NAMES, st.lists(NAMES, max_size=4)))
def test_a_chain_begins_with_the_model_and_ends(name: str, fallbacks: dict[str, list[str]]) -> None:
    chain = list_chain(name, fallbacks)
    assert chain[0] == name
    assert len(chain) == len(set(chain))
    circle = find_circle(fallbacks)
    for one, other in pairwise(circle):
        assert other in fallbacks[one]
    ordered = all(
        name not in list_chain(other, fallbacks)
        for name, others in fallbacks.items()
        for other in others
    )
    assert ordered == (not circle)
