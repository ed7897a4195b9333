"""Guesses of what comes next in an answer, from what it repeats: prompt lookup decoding.

Code that is edited, and answers about a text, say again much of what their prompt says. A model
that is given its own likely next tokens computes them all in one pass, at about the price of one
where reading the weights is what takes time. (A. Saxena, "Prompt Lookup Decoding", 2023; N. Yang
et al., "Inference with Reference", arXiv 2304.04487, section 3.)

A guess changes nothing of what is sampled: each token is drawn from the model's own distribution,
and the pass goes on for as long as what is drawn is what was guessed (Y. Leviathan et al., arXiv
2211.17192, algorithm 1, for a draft that is certain of itself).
"""

from __future__ import annotations

from collections.abc import Iterable

LONGEST, SHORTEST = 4, 2
"""Tokens at the end that must have come before, for what followed then to be a guess now."""


class Lookup:
    """What followed each short run of tokens, the last time that it came.

    How far a guess reaches follows how far the last one was right: one token further than that.
    """

    def __init__(self, ids: Iterable[int]) -> None:
        self._ids: list[int] = []
        self._followed: dict[tuple[int, ...], int] = {}
        """Where what followed a run begins."""
        self._reach = SHORTEST
        for id in ids:
            self.push(id)

    def push(self, id: int) -> None:
        """Go on with one more token."""
        ids, end = self._ids, len(self._ids)
        for width in range(SHORTEST, min(LONGEST, end) + 1):
            self._followed[tuple(ids[end - width :])] = end
        ids.append(id)

    def guess(self, most: int) -> list[int]:
        """At most ``most`` tokens that may come next; none where nothing comes again."""
        ids = self._ids
        for width in range(min(LONGEST, len(ids)), SHORTEST - 1, -1):
            place = self._followed.get(tuple(ids[-width:]))
            if place is not None:
                return ids[place : place + min(most, self._reach)]
        return []

    def learn(self, right: int) -> None:
        """Say how many tokens of the last guess were drawn."""
        self._reach = right + 1
