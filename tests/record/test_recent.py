from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from liveweights.record.recent import Recent

KEPT = 4


@given(st.lists(st.tuples(st.integers(0, 20), st.integers())))
def test_the_last_keys_are_known_and_no_more_than_twice_as_many(
    puts: list[tuple[int, int]],
) -> None:
    recent = Recent[int, int | None](KEPT)
    last: dict[int, int] = {}
    for key, value in puts:
        recent.put(key, value)
        last.pop(key, None)
        last[key] = value
        assert len(recent) <= 2 * KEPT
        for known in list(last)[-KEPT:]:
            assert recent.get(known, None) == last[known]
        assert recent.get(21, None) is None
