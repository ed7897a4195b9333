"""What the user would have wanted, where that is known."""

from __future__ import annotations

from collections.abc import Sequence

from liveweights.record.feedback import Feedback


def last_correction(feedback: Sequence[Feedback]) -> str | None:
    """What the user wrote instead, as they last said it."""
    corrections = [f.text for f in feedback if f.signal == "correction" and f.text]
    return corrections[-1] if corrections else None


def truth(output: str, feedback: Sequence[Feedback]) -> str | None:
    """The last correction, else ``output`` if it was accepted; None where nobody knows."""
    written = last_correction(feedback)
    if written is not None:
        return written
    return output if any(f.signal == "accepted" for f in feedback) else None
