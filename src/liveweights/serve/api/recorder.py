"""What the API needs of whatever keeps the record."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Protocol

from liveweights.record.backlog import Backlog
from liveweights.record.feedback import Feedback
from liveweights.record.generation import Generation
from liveweights.record.response import Conversation, StoredResponse


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

    async def reach(self) -> None:
        """Returns where something could be read or added now."""
        ...

    async def add(self, response: StoredResponse, /) -> None:
        """Returns once durable. Raises Unstorable."""
        ...

    async def read(self, tenant: str, id: str, /) -> dict[str, Any]:
        """The answer as it was sent. Raises UnknownResponse."""
        ...

    async def asked(self, tenant: str, id: str, /) -> list[dict[str, Any]]:
        """The items that were new in its request. Raises UnknownResponse."""
        ...

    async def conversation(self, tenant: str, id: str, /) -> list[dict[str, Any]]:
        """All items up to and with the answer, the oldest first.

        Raises UnknownResponse, ConversationTooLong.
        """
        ...

    async def outputs(self, tenant: str, ids: Sequence[str], /) -> list[dict[str, Any]]:
        """The items of these answers, of those that are stored. Raises ConversationTooLong."""
        ...

    async def episode(self, tenant: str, id: str, /) -> str:
        """What the conversation up to the answer is called. Raises UnknownResponse."""
        ...

    async def delete(self, tenant: str, id: str, /) -> None:
        """Raises UnknownResponse."""
        ...


class Page(Protocol):
    """Items of a conversation, and whether there are more."""

    @property
    def items(self) -> list[dict[str, Any]]: ...

    @property
    def more(self) -> bool: ...


class Conversations(Protocol):
    """``record.conversations.ConversationStore`` is the real one. Every method raises StoreAway,
    and what names a conversation UnknownConversation; what adds items Unstorable and
    ConversationTooLong."""

    async def create(
        self, conversation: Conversation, items: Sequence[dict[str, Any]], /
    ) -> None: ...

    async def read(self, tenant: str, id: str, /) -> Conversation: ...

    async def update(self, tenant: str, id: str, metadata: dict[str, str], /) -> Conversation: ...

    async def delete(self, tenant: str, id: str, /) -> None: ...

    async def add(
        self,
        tenant: str,
        id: str,
        items: Sequence[dict[str, Any]],
        /,
        *,
        user: str | None = None,
        asked: datetime | None = None,
        response: StoredResponse | None = None,
    ) -> None:
        """What was ``asked`` then (None: now), and its answer. Returns once durable, with the
        ``response`` that they are of. One that is there already
        stays as it is."""
        ...

    async def check_room(self, tenant: str, id: str, items: Sequence[dict[str, Any]], /) -> None:
        """Raises ConversationTooLong where these and an answer cannot be added now."""
        ...

    async def items(self, tenant: str, id: str, /) -> list[dict[str, Any]]:
        """All of them, the oldest first."""
        ...

    async def page(
        self, tenant: str, id: str, /, *, limit: int, after: str | None, newest: bool
    ) -> Page:
        """So many, from the one after the item ``after`` on. Raises UnknownItem."""
        ...

    async def read_item(self, tenant: str, id: str, item: str, /) -> dict[str, Any]:
        """Raises UnknownItem."""
        ...

    async def delete_item(self, tenant: str, id: str, item: str, /) -> Conversation:
        """Raises UnknownItem."""
        ...
