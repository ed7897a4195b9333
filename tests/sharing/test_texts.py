"""What is shown and looked for of strings that were put among the feedback."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from liveweights.sharing.repetition import CONTEXT, LONGEST, find_repeated
from liveweights.sharing.texts import read_canaries


@given(st.integers(1, 4 * CONTEXT))
def test_a_canary_is_found_however_long_it_is(length: int) -> None:
    ids = list(range(length))
    (probe,) = read_canaries(["x"], lambda text: ids)
    half = length // 2
    assert list(probe.shown_ids) == ids[:half][-CONTEXT:]
    said = ids[half:][:LONGEST]  # no model is asked for more
    (found,) = find_repeated([probe], [said], [said[:-1]])
    assert found.tokens == len(said)


def test_canaries_are_named_by_their_lines() -> None:
    probes = read_canaries(["", "ab", "  ", " c "], lambda text: list(text.encode()))
    assert [(one.row, one.shown_ids, one.kept_ids) for one in probes] == [
        ("canary in line 2", (97,), (98,)),
        ("canary in line 4", (), (99,)),
    ]
