from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from liveweights.access.sessions import (
    ERRAND_SECONDS,
    SECONDS,
    begin_session,
    form_token,
    open_errand,
    open_session,
    seal_errand,
    seal_session,
)

SECRET, OTHER = b"s" * 32, b"t" * 32
NAMES = st.text(max_size=128)


@given(name=NAMES, version=st.text("0123456789.-", max_size=30))
def test_what_was_sealed_is_opened_until_it_ends(name: str, version: str) -> None:
    session = begin_session(name, version, 1000.0)
    text = seal_session(session, SECRET)
    assert open_session(text, SECRET, 1000.0) == session
    assert open_session(text, SECRET, 1000.0 + SECONDS) is None
    assert open_session(text, OTHER, 1000.0) is None


@given(st.data())
def test_no_other_text_is_opened(data: st.DataObject) -> None:
    text = seal_session(begin_session("ada", "1", 1000.0), SECRET)
    place = data.draw(st.integers(0, len(text) - 1))
    char = data.draw(st.characters(max_codepoint=0x2FF))
    changed = text[:place] + char + text[place + 1 :]
    opened = open_session(changed, SECRET, 1000.0)
    # The last letter of a base64 text has bits that say nothing.
    assert opened is None or opened.name == "ada"
    assert open_session(data.draw(st.text(max_size=50)), SECRET, 1000.0) is None


def test_sessions_differ_and_a_form_is_of_one() -> None:
    one, two = (begin_session("ada", "1", 0.0) for _ in range(2))
    assert one.id != two.id
    tokens = {
        form_token(session.id, secret) for session in (one, two) for secret in (SECRET, OTHER)
    }
    assert len(tokens) == 4
    # What signs a form signs no session.
    assert form_token(one.id, SECRET) not in seal_session(one, SECRET)


@given(content=st.binary(max_size=500))
def test_an_errand_is_brought_back_in_time_and_is_no_session(content: bytes) -> None:
    text = seal_errand(content, SECRET, 1000.0)
    assert open_errand(text, SECRET, 1000.0) == content
    assert open_errand(text, SECRET, 1000.0 + ERRAND_SECONDS) is None
    assert open_errand(text, OTHER, 1000.0) is None
    assert open_session(text, SECRET, 1000.0) is None
    assert (
        open_errand(seal_session(begin_session("a", "1", 1000.0), SECRET), SECRET, 1000.0) is None
    )
