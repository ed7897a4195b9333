"""What the API needs of whatever keeps the record."""

from __future__ import annotations

from typing import Any, Protocol

from liveweights.record.backlog import Backlog
from liveweights.record.feedback import Feedback
from liveweights.record.generation import Generation
from liveweights.record.response import StoredResponse


class Recorder(Protocol):
    """``record.writer.Writer`` is the real one. Its methods raise WriterClosed."""

    @property
    def backlog(self) -> Backlog:
        """How far it is behind."""
        ...

    async def add_generation(self, generation: Generation, /) -> None:
        """Returns once ``add_feedback`` for it can no longer miss it."""
        ...

    async def add_feedback(self, feedback: Feedback, /) -> bool:
        """Returns once durable: True if new, False for an identical repeat.

        Raises UnknownGeneration, ConflictingFeedback, TooMuchFeedback, InvalidRow.
        """
        ...

    async def steps(self, tenant: str, name: str, /, *, session: bool) -> list[str]:
        """The generations of the tenant's episode, or of the chat session, in their order.

        Raises UnknownEpisode, TooManySteps.
        """
        ...


class Responses(Protocol):
    """``record.responses.ResponseStore`` is the real one. Every method raises StoreAway."""

    async def add(self, response: StoredResponse, /) -> None:
        """Returns once durable. Raises Unstorable."""
        ...

    async def read(self, tenant: str, id: str, /) -> dict[str, Any]:
        """The answer as it was sent. Raises UnknownResponse."""
        ...

    async def conversation(self, tenant: str, id: str, /) -> list[dict[str, Any]]:
        """All items up to and with the answer, the oldest first.

        Raises UnknownResponse, ConversationTooLong.
        """
        ...

    async def episode(self, tenant: str, id: str, /) -> str:
        """What the conversation up to the answer is called. Raises UnknownResponse."""
        ...

    async def delete(self, tenant: str, id: str, /) -> None:
        """Raises UnknownResponse."""
        ...
