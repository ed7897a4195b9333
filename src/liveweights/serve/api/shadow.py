"""Putting served requests to a canary as well, whose answers nobody sees."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress
from dataclasses import replace
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self, cast

from liveweights.engines.protocol import EngineError, Token
from liveweights.record.shadow_answer import ShadowAnswer
from liveweights.serve.api.draft import Draft
from liveweights.serve.api.silence import Silence
from liveweights.serve.models import Models

log = logging.getLogger(__name__)

MOST_WAITING = 16
"""Requests that wait for the shadow; more are passed over, so that it never lags behind."""


class Shadow:
    """One request at a time, after its user was answered; use as ``async with``.

    ``keep`` stores what came of it. Requests without consent to training are left alone. A canary
    on another base is put the same words in its own tokens; what is asked in a chat template's, or
    within the tokens of a constraint, it is not.
    """

    def __init__(self, models: Models, keep: Callable[[ShadowAnswer], Awaitable[None]]) -> None:
        self._models = models
        self._keep = keep
        self._waiting = asyncio.Queue[tuple[Draft, str]](MOST_WAITING)
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._task:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    def offer(self, draft: Draft) -> None:
        """Ask the canary too, if the alias has a shadow and chance wills it. Returns at once."""
        checkpoint = self._models.draw_shadow(draft.alias, draft.checkpoint, draft.caller.tenant)
        if checkpoint is None or not draft.caller.consent or self._waiting.full():
            return
        if self._models.find(checkpoint).engine is not draft.engine and not _is_plain(draft):
            return
        self._waiting.put_nowait((draft, checkpoint))

    async def _run(self) -> None:
        while True:
            draft, checkpoint = await self._waiting.get()
            try:
                await self._keep(await self._answer(draft, checkpoint))
            except Exception:
                # Nobody waits for it: the next request is the next try.
                log.exception("the shadow answer to %s by %s was lost", draft.id, checkpoint)

    async def _answer(self, draft: Draft, checkpoint: str) -> ShadowAnswer:
        made = replace(
            draft, checkpoint=checkpoint, tokens=[], silence=None, created_at=datetime.now(UTC)
        )
        made.started = time.perf_counter()
        reason = "error"
        with self._models.pin(checkpoint, None) as (model, pin):
            if model.engine is not draft.engine:
                made.engine = model.engine
                prompt = self._read_prompt(draft)
                made.prompt_ids = await asyncio.to_thread(model.tokenizer.encode, prompt)
                made.sampling = replace(draft.sampling, skip="", logit_bias=())
            if draft.may_be_silent:
                made.silence = Silence.begin(pin.selection, made.sampling)
            answer = made.engine.generate(checkpoint, made.prompt_ids, made.sampling)
            try:
                async with aclosing(cast(Any, answer)) as tokens:
                    async for token in tokens:
                        if stop := made.add(cast(Token, token)).stop:
                            reason = stop
                            break
            except EngineError as error:
                log.warning("%s fails in the shadow: %s", checkpoint, error)
                reason = "error"
        return ShadowAnswer(
            generation=draft.id,
            tenant=draft.caller.tenant,
            user=draft.caller.user,
            asked_at=draft.created_at,
            checkpoint=checkpoint,
            alias=draft.alias,
            created_at=made.created_at,
            session=draft.caller.session,
            output=made.text(),
            finish_reason=reason,
            total_ms=made.elapsed_ms(),
        )

    def _read_prompt(self, draft: Draft) -> str:
        """What was asked, in words."""
        tokenizer = self._models.find(draft.checkpoint).tokenizer
        asked = tokenizer.decode(draft.prompt_ids, skip_special_tokens=True)
        return asked + draft.sampling.skip


def _is_plain(draft: Draft) -> bool:
    """Whether any model can be asked the same."""
    return draft.endpoint == "completion" and draft.sampling.constraint is None
