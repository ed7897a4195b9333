"""Engines that compute in this process: what they have in common."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Generic, TypeVar

from liveweights.engines.context import with_context
from liveweights.engines.decoder import Decoder
from liveweights.engines.guide import GuideMaker
from liveweights.engines.limits import check_request
from liveweights.engines.outbox import Outbox
from liveweights.engines.protocol import (
    ALL_GUIDANCE,
    EngineError,
    Guidance,
    Sampling,
    Token,
    UnknownCheckpoint,
)
from liveweights.engines.settings import EngineSettings
from liveweights.engines.text import TextStream
from liveweights.engines.worker import Answer, Worker
from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.models import end_of_text_ids, load_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

D = TypeVar("D", bound=Decoder)
_UNREADABLE = (OSError, ValueError, KeyError, RuntimeError, ImportError)


class InProcessEngine(ABC, Generic[D]):
    """``Engine`` on a ``Worker``; what is left to say is how a checkpoint's decoder is opened.

    One thread computes a token of every answer of a checkpoint in one batch; new answers join
    between two steps.
    """

    def __init__(
        self,
        base: Checkpoint,
        settings: EngineSettings,
        threads: int,
        tokenizer: PreTrainedTokenizerBase | None,
    ) -> None:
        self._settings = settings = with_context(base, settings)
        self._tokenizer = tokenizer or load_tokenizer(base)
        self._ends = end_of_text_ids(base, self._tokenizer)
        self._guides = GuideMaker(self._tokenizer, self._ends)
        self._decoders: dict[str, D] = {}
        self._loads = asyncio.Lock()
        self._outbox: Outbox[Token | BaseException] = Outbox()
        self._worker = Worker(threads, settings.slots, settings.guesses, self._outbox.flush)

    @abstractmethod
    def _open(self, checkpoint: Checkpoint, base: Checkpoint | None) -> D:
        """Read a checkpoint; called in a thread, one at a time. May raise what reading files and
        libraries do."""
        ...

    @abstractmethod
    def _release(self) -> None:
        """Forget what no resident checkpoint needs any more."""
        ...

    @property
    def context_length(self) -> int:
        """Tokens of prompt and answer together."""
        return self._settings.context_length

    @property
    def guidance(self) -> frozenset[Guidance]:
        """What it follows that changes the distribution that a token is drawn from."""
        return ALL_GUIDANCE

    def resident(self) -> frozenset[str]:
        """Ids of the checkpoints that can answer now."""
        return frozenset(self._decoders)

    async def active(self, checkpoint_id: str) -> int:
        """How many answers the checkpoint is computing now."""
        return self._worker.active(checkpoint_id)

    async def load(self, checkpoint: Checkpoint, base: Checkpoint | None = None) -> None:
        """Make ``checkpoint`` resident; see ``Engine.load``."""
        if (checkpoint.kind == "adapter") != (base is not None):
            raise EngineError(f"{checkpoint.id}: a base is given exactly with an adapter")
        async with self._loads:
            if checkpoint.id in self._decoders:
                return
            try:
                await self._guides.prepare()
                decoder = await asyncio.to_thread(self._open, checkpoint, base)
            except _UNREADABLE as error:
                self._release()
                raise EngineError(f"{checkpoint.id} does not load: {error}") from error
            self._decoders[checkpoint.id] = decoder

    async def unload(self, checkpoint_id: str) -> None:
        """Free the checkpoint's memory; see ``Engine.unload``."""
        async with self._loads:
            self._decoders.pop(checkpoint_id, None)
            self._release()

    async def close(self) -> None:
        """Unload everything and end the thread."""
        await asyncio.to_thread(self._worker.close)
        self._decoders.clear()
        self._release()

    async def generate(
        self, checkpoint_id: str, prompt_ids: Sequence[int], sampling: Sampling
    ) -> AsyncGenerator[Token]:
        """Sample an answer, token by token; see ``Engine.generate``."""
        decoder = self._find(checkpoint_id)
        check_request(len(prompt_ids), sampling, self.context_length)
        guide = await self._guides.make(sampling.constraint) if sampling.constraint else None
        tokens: asyncio.Queue[Token | BaseException] = asyncio.Queue()
        loop = asyncio.get_running_loop()

        emit = partial(self._outbox.put, loop, tokens)
        text = TextStream(self._tokenizer, sampling.stop, sampling.skip)
        answer = Answer(checkpoint_id, decoder, prompt_ids, sampling, text, self._ends, emit, guide)
        self._worker.submit(answer)
        try:
            while True:
                token = await tokens.get()
                if isinstance(token, BaseException):
                    raise token
                yield token
                if token.stop:
                    return
        finally:
            answer.cancelled = True

    def _find(self, checkpoint_id: str) -> D:
        decoder = self._decoders.get(checkpoint_id)
        if decoder is None:
            raise UnknownCheckpoint(f"{checkpoint_id} is not resident on this engine")
        return decoder
