"""Names in headers."""

from __future__ import annotations

from urllib.parse import unquote

from hypothesis import given
from hypothesis import strategies as st

from liveweights.serve.api.names import model_header


def test_a_plain_name_is_said_as_it_is() -> None:
    assert model_header("org/big-70b:free") == (b"x-model", b"org/big-70b:free")


@given(st.text(alphabet=st.characters(codec="utf-8")))
def test_any_name_is_one_line_and_can_be_read(name: str) -> None:
    _, value = model_header(name)
    assert all(0x21 <= byte < 0x7F for byte in value)
    assert unquote(value.decode()) == name
