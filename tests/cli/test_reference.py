from __future__ import annotations

import tomllib

from hypothesis import given
from hypothesis import strategies as st

from liveweights.cli.reference import toml_value

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
VALUES = st.recursive(
    st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner),
)


@given(VALUES)
def test_what_is_written_is_read(value: object) -> None:
    assert tomllib.loads(f"x = {toml_value(value)}")["x"] == value
