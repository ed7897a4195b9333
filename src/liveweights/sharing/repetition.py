"""Whether weights repeat what users wrote: exact runs of tokens. Pure.

A text is extractable where a model, given what came before it, goes on with it word for word
(arXiv 2202.07646). What the base, which never saw it, goes on with too says nothing of learning.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

CONTEXT = 256
"""Tokens before a text that a model is shown at most."""
LONGEST = 96
"""Tokens of a text that are looked for at most."""


@dataclass(frozen=True, slots=True)
class Probe:
    """A text, named by ``row``, that weights may repeat: they are shown ``shown_ids``, which may
    end within the text, and should not go on with ``needed`` neighbours of ``kept_ids``."""

    row: str
    shown_ids: tuple[int, ...]
    kept_ids: tuple[int, ...]
    needed: int
    is_canary: bool = False

    @property
    def is_long_enough(self) -> bool:
        """Whether there are so many tokens to repeat."""
        return 0 < self.needed <= len(self.kept_ids)


class Repeated(msgspec.Struct, frozen=True, kw_only=True):
    """A text that the weights repeat: the longest run of its tokens, and that of the base.
    ``is_canary``: it was put there to be looked for."""

    row: str
    tokens: int
    base_tokens: int
    is_canary: bool = False


class Repetition(msgspec.Struct, frozen=True, kw_only=True):
    """What a check for private data came to.

    ``rows`` is how many answers the cycles learnt from, ``gone`` how many of them are no longer in
    the record. Of ``texts`` that users wrote, and strings that were put among them, ``asked`` were
    long enough for a run of ``ngram`` tokens and looked at; of ``unasked`` it is not known what to
    show before them.
    """

    rows: int
    gone: int
    texts: int
    asked: int
    ngram: int
    repeated: tuple[Repeated, ...]
    unasked: int = 0

    @property
    def share(self) -> float:
        """Of the texts that were looked at, how many are repeated; 0 without any."""
        return len(self.repeated) / self.asked if self.asked else 0.0


def make_probe(row: str, prompt_ids: Sequence[int], text_ids: Sequence[int], ngram: int) -> Probe:
    """Show the prompt and up to ``ngram`` tokens of the text, and keep at least as many of it where
    it has them."""
    shown = max(0, min(ngram, len(text_ids) - ngram))
    before = [*prompt_ids, *text_ids[:shown]][-CONTEXT:]
    return Probe(row, tuple(before), tuple(text_ids[shown : shown + LONGEST]), ngram)


def longest_run(one: Sequence[int], other: Sequence[int]) -> int:
    """Length of the longest run of neighbours that is in both."""
    best, before = 0, [0] * (len(other) + 1)
    for token in one:
        now = [0] * (len(other) + 1)
        for place, wanted in enumerate(other, 1):
            if token == wanted:
                now[place] = before[place - 1] + 1
                best = max(best, now[place])
        before = now
    return best


def find_repeated(
    probes: Sequence[Probe],
    answers: Sequence[Sequence[int]],
    base_answers: Sequence[Sequence[int]],
) -> tuple[Repeated, ...]:
    """The texts of which the weights' ``answers`` hold as long a run as is needed, and those of the
    base do not; the longest first."""
    repeated: list[Repeated] = []
    for probe, answer, base_answer in zip(probes, answers, base_answers, strict=True):
        run, base_run = (longest_run(ids, probe.kept_ids) for ids in (answer, base_answer))
        if run >= probe.needed > base_run:
            repeated.append(
                Repeated(row=probe.row, tokens=run, base_tokens=base_run, is_canary=probe.is_canary)
            )
    return tuple(sorted(repeated, key=lambda one: (-one.tokens, one.row)))
