"""Reactions on their way to the service: kept while it is away, sent again under the same ids."""

from __future__ import annotations

import asyncio
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from itertools import groupby

from liveweights.editor.pauses import Pauses
from liveweights.editor.service import Away, Refused, Service
from liveweights.editor.tracker import Verdict

MOST = 1000
"""Reactions that wait; of more the oldest are let go."""
LAST_SECONDS = 2.0
"""How long the end may take."""

Items = list[dict[str, str]]


def as_requests(verdicts: Sequence[Verdict]) -> list[Items]:
    """One request's items per answer, in order, each under an idempotency id of its own."""
    ordered = sorted(verdicts, key=lambda verdict: verdict.generation)
    return [
        [_item(verdict) for verdict in group]
        for _, group in groupby(ordered, key=lambda verdict: verdict.generation)
    ]


def _item(verdict: Verdict) -> dict[str, str]:
    item = {"generation": verdict.generation, "id": uuid.uuid4().hex, "signal": verdict.signal}
    return item if verdict.text is None else {**item, "text": verdict.text}


class Outbox:
    """Sends in order, one request at a time. ``log`` is told what is not taken."""

    def __init__(self, service: Callable[[], Service], log: Callable[[str], None]) -> None:
        self._service = service
        self._log = log
        self._waiting: deque[Items] = deque(maxlen=MOST)
        self._pauses = Pauses()
        self._sending: asyncio.Task[None] | None = None

    def add(self, verdicts: Sequence[Verdict]) -> None:
        self._waiting += as_requests(verdicts)
        if self._waiting and (self._sending is None or self._sending.done()):
            self._sending = asyncio.create_task(self._send())

    def clear(self) -> None:
        """Tell no more of what waits."""
        self._waiting.clear()

    async def close(self) -> None:
        """Send what is left, if that can be done soon."""
        if self._sending is not None:
            await asyncio.wait([self._sending], timeout=LAST_SECONDS)
            self._sending.cancel()

    async def _send(self) -> None:
        while self._waiting:
            items = self._waiting[0]
            try:
                await self._service().tell(items)
            except Away:
                await asyncio.sleep(self._pauses.fail())
                continue
            except Refused as error:
                self._log(str(error))
            self._pauses.succeed()
            if self._waiting and self._waiting[0] is items:
                self._waiting.popleft()
