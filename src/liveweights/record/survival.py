"""How much of an answer is left after the user's edits."""

from __future__ import annotations

import difflib


def survival(output: str, surviving: str) -> float:
    """Share of the answer's characters that survived the user's edits, in [0, 1].

    Matching blocks of Ratcliff and Obershelp, as in ``difflib``; 0.0 for an empty answer.
    """
    if not output:
        return 0.0
    matcher = difflib.SequenceMatcher(None, output, surviving, autojunk=False)
    return sum(block.size for block in matcher.get_matching_blocks()) / len(output)
