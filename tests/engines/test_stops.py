"""The stop string that is complete first is found, however the text comes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from liveweights.engines.stops import Stops

strings = st.lists(st.text(alphabet="ab", min_size=1, max_size=5), max_size=4)


def search(pieces: list[str], stops: list[str]) -> tuple[int, int] | None:
    """Where the first stop string ends in the whole text, and its length."""
    found, before = Stops(stops), 0
    for piece in pieces:
        if (hit := found.find(piece)) is not None:
            return before + hit[0], hit[1]
        before += len(piece)
    return None


@given(pieces=st.lists(st.text(alphabet="abc", max_size=6), max_size=6), stops=strings)
def test_it_is_found_in_any_pieces(pieces: list[str], stops: list[str]) -> None:
    text = "".join(pieces)
    hits = [(text.index(stop) + len(stop), -len(stop)) for stop in stops if stop in text]
    expected = (min(hits)[0], -min(hits)[1]) if hits else None
    assert search(pieces, stops) == expected


@given(text=st.text(alphabet="abc", max_size=12), stops=strings)
def test_what_has_begun_is_held_back(text: str, stops: list[str]) -> None:
    found = Stops(stops)
    if found.find(text) is None:
        begun = [
            n for n in range(len(text) + 1) for stop in stops if stop[:n] == text[-n:] or n == 0
        ]
        assert found.begun == max(begun, default=0)


def test_long_strings_cost_a_look_at_each_character() -> None:
    looks = 0

    class Counted(str):
        def __getitem__(self, key: object) -> str:  # pyright: ignore
            nonlocal looks
            looks += 1
            return super().__getitem__(key)  # pyright: ignore

    found = Stops([])
    found._strings = [Counted("a" * 2000 + "b")]  # pyright: ignore
    found._fallbacks = Stops(["a" * 2000 + "b"])._fallbacks  # pyright: ignore
    found._begun = [0]  # pyright: ignore
    assert found.find("a" * 6000) is None
    assert looks < 5 * 6000
