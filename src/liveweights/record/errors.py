"""What the record refuses, and when it cannot be asked."""

from __future__ import annotations


class UnknownGeneration(LookupError):
    """No generation of this tenant has that id."""


class ConflictingFeedback(ValueError):
    """The tenant has used this feedback id already, for something else."""


class UnknownEpisode(LookupError):
    """No generation of this tenant is of that episode or session."""


class TooManySteps(ValueError):
    """An episode or session has more answers than may be reacted to at once."""


class TooMuchFeedback(ValueError):
    """The generation has as much feedback as one may have."""


class WriterClosed(RuntimeError):
    """The writer was closed, or could not write everything before it closed."""


class UnknownResponse(LookupError):
    """No answer of this tenant has that id."""


class UnknownConversation(LookupError):
    """No conversation of this tenant has that id."""


class UnknownItem(LookupError):
    """Nothing in the conversation has that id."""


class ConversationTooLong(ValueError):
    """A conversation has more answers, or more bytes, than one may have."""


class StoreAway(RuntimeError):
    """The database cannot be reached now."""


class Unstorable(ValueError):
    """The database will never take this answer."""
