"""What counts as a text that comes back."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from liveweights.sharing.repetition import (
    CONTEXT,
    LONGEST,
    Probe,
    Repetition,
    find_repeated,
    longest_run,
    make_probe,
)

IDS = st.lists(st.integers(0, 3), max_size=24)


@given(IDS, IDS)
def test_the_longest_run_is_in_both_and_no_longer_one_is(one: list[int], other: list[int]) -> None:
    length = longest_run(one, other)

    def runs(ids: list[int], size: int) -> set[tuple[int, ...]]:
        return {tuple(ids[n : n + size]) for n in range(len(ids) - size + 1)}

    assert length == 0 or runs(one, length) & runs(other, length)
    assert not runs(one, length + 1) & runs(other, length + 1)
    assert longest_run(other, one) == length


@given(IDS, st.lists(st.integers(0, 9), max_size=200), st.integers(2, 40))
def test_a_probe_shows_what_came_before_and_keeps_enough(
    prompt: list[int], text: list[int], ngram: int
) -> None:
    probe = make_probe("r", prompt, text, ngram)
    shown, kept = list(probe.shown_ids), list(probe.kept_ids)
    assert len(shown) <= CONTEXT
    assert len(kept) <= LONGEST
    whole = [*prompt, *text]
    begun = whole[: len(prompt) + min(ngram, max(0, len(text) - ngram))]
    assert begun[len(begun) - len(shown) :] == shown
    assert whole[len(begun) :][: len(kept)] == kept
    assert probe.is_long_enough == (len(text) >= ngram)


def test_what_the_base_says_too_is_no_memory() -> None:
    text = tuple(range(10))
    probes = [Probe(name, (), text, 4) for name in ("learnt", "known", "short", "both")]
    answers = [[99, 2, 3, 4, 5], list(text), [1, 2, 3, 99], [1, 2, 3, 4, 5, 6]]
    base_answers = [[2, 3, 4], list(text), [], [5, 6, 7]]
    repeated = find_repeated(probes, answers, base_answers)
    assert [(one.row, one.tokens, one.base_tokens) for one in repeated] == [
        ("both", 6, 3),
        ("learnt", 4, 3),
    ]
    check = Repetition(rows=9, gone=0, texts=5, asked=4, ngram=4, repeated=repeated)
    assert check.share == 0.5
    assert Repetition(rows=0, gone=0, texts=0, asked=0, ngram=4, repeated=()).share == 0.0
