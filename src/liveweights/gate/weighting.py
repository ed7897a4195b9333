"""How many judged cases one whose truth is known stands for.

Of an answer that was taken the truth is known: it is the answer. Of one that was refused it is
known only where the user wrote another. Among known cases alone a candidate would be compared where
what was served succeeded, or where it failed, and would lose, or win, by being different. So each
of them stands for as many judged cases of its kind as there are to a known one: one over the share
that is known (Horvitz & Thompson 1952, "A generalization of sampling without replacement from a
finite universe"), as if users wrote what they wanted of any refused answer alike.
"""

from __future__ import annotations

from collections.abc import Sequence

from liveweights.gate.scoring import Case

LEAST_KNOWN = 10
"""Of refused answers, where users do not write what they wanted of all."""
UNTOLD = 0.1


class OneSided(Exception):
    """It is known only where the served answers succeeded, or only where they failed."""


def weigh_cases(cases: Sequence[Case]) -> list[float]:
    """For each case how many it stands for; 0 where its truth is not known.

    A known one of which nobody said how the served answer fared stands for itself. Raises OneSided,
    with what is missing: also where users told of one kind alone, and more than ``UNTOLD`` as many
    answers were left without a word, which may be the other kind.
    """
    known = [case.truth is not None for case in cases]
    taken = sum(case.taken is True for case in cases)
    refused = sum(case.taken is False for case in cases)
    corrected = sum(case.taken is False for case, told in zip(cases, known, strict=True) if told)
    silent = sum(case.taken is None and not told for case, told in zip(cases, known, strict=True))
    hidden = silent > UNTOLD * (taken + refused)
    if refused and not taken and hidden:
        raise OneSided(f"users refused {refused} answers and took none: where is it right?")
    if taken and not refused and hidden:
        raise OneSided(f"users took {taken} answers and refused none: where is it wrong?")
    if corrected < min(refused, LEAST_KNOWN):
        raise OneSided(
            f"of {refused} refused answers users wrote {corrected} times what they wanted;"
            f" {LEAST_KNOWN} are needed"
        )
    each = refused / corrected if corrected else 0.0
    return [
        0.0 if not told else each if case.taken is False else 1.0
        for case, told in zip(cases, known, strict=True)
    ]
