"""What the user would have wanted, where that is known."""

from __future__ import annotations

from collections.abc import Sequence

from liveweights.record.feedback import Feedback


def truth(output: str, feedback: Sequence[Feedback]) -> str | None:
    """The last correction, else ``output`` if it was accepted; None where nobody knows."""
    corrections = [f.text for f in feedback if f.signal == "correction" and f.text]
    if corrections:
        return corrections[-1]
    return output if any(f.signal == "accepted" for f in feedback) else None
