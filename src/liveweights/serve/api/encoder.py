"""Prompts into tokens: what cannot fit is refused by its length, and long ones wait their turn."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from liveweights.catalog.control import ControlTokens, Hidden
from liveweights.http.errors import too_many
from liveweights.http.slots import QueueFull, Slots
from liveweights.serve.api.refusals import prompt_exceeds
from liveweights.serve.api.tokenization import INLINE_CHARACTERS, Tokenizer

THREADS, WAITING = 2, 128
"""For long prompts only; tenants take turns in them."""
COMMON = 8
"""Characters that a token of ordinary text has at most: of a text that is longer than so many for
each token of the context, the beginning is read first."""
SLACK = 64
"""Tokens by which a beginning may have more than the same characters of the whole."""
T = TypeVar("T")


class TooLong(Exception):
    """The text has more tokens than the context; at least ``args[0]``."""


class Encoder:
    """For one tokenizer and a context of that many tokens."""

    def __init__(self, tokenizer: Tokenizer, context: int) -> None:
        self.tokenizer = tokenizer
        self.context = context
        """Tokens of prompt and answer together."""
        self._longest = max(map(len, tokenizer.get_vocab()), default=1)
        self.control = ControlTokens(tokenizer)
        self._slots = Slots(THREADS, WAITING)
        self._threads = ThreadPoolExecutor(THREADS, "prompts")

    def fewest(self, characters: int, param: str) -> int:
        """Tokens that so many characters have at least. Raises ApiError 400 where they cannot
        fit."""
        tokens = self._least(characters)
        self.check(tokens, param)
        return tokens

    def _least(self, characters: int) -> int:
        return -(-characters // self._longest)

    def check(self, tokens: int, param: str) -> None:
        """Raises ApiError 400 for a prompt that cannot fit, with any answer."""
        if tokens >= self.context:
            raise prompt_exceeds(tokens, self.context, param)

    async def encode_said(
        self, prompt: str, hidden: Hidden, tenant: str, *, param: str = "prompt"
    ) -> list[int]:
        """A prompt from a template, in which what was ``hidden`` is text. Raises as
        ``encode_text``."""
        self.check(2 * hidden.count, param)  # each is two tokens at least
        work = partial(self._read_said, prompt, hidden)
        return await self.work(len(prompt), tenant, work, param=param)

    async def encode_text(self, text: str, tenant: str, *, param: str = "prompt") -> list[int]:
        """Control tokens that are written out in it are text. Raises ApiError 400 for what cannot
        fit, 429 where too many wait; TypeError for half a character."""
        self.fewest(len(text), param)
        return await self.work(len(text), tenant, partial(self.read_text, text), param=param)

    async def work(
        self, characters: int, tenant: str, work: Callable[[], T], *, param: str = "prompt"
    ) -> T:
        """``work``, which reads so many characters in all: many in one of the threads, so that
        they hold up nobody else. Raises ApiError 400 where it raises TooLong, 429."""
        try:
            if characters <= INLINE_CHARACTERS:
                return work()
            return await self._run(tenant, work)
        except TooLong as error:
            raise prompt_exceeds(error.args[0], self.context, param) from None

    def read(self, text: str, *, special: bool) -> list[int]:
        """Raises TooLong; TypeError for half a character."""
        start = text[: COMMON * self.context]
        if len(start) < len(text):
            count = len(self.tokenizer.encode(start, add_special_tokens=special)) - SLACK
            if count > self.context:
                raise TooLong(count)
        return self.tokenizer.encode(text, add_special_tokens=special)

    def read_text(self, text: str, *, special: bool = True) -> list[int]:
        """As ``read``, but control tokens that are written out in it are text."""
        hidden = self.control.hidden()
        marked = hidden.hide(text)
        if not hidden.count:
            return self.read(text, special=special)
        begin = self.tokenizer.encode("", add_special_tokens=special)
        return begin + self._read_said(marked, hidden)

    def _read_said(self, prompt: str, hidden: Hidden) -> list[int]:
        pieces = hidden.pieces(prompt)
        least = self._least(sum(len(text) for text, said in pieces if not said))
        if least >= self.context:
            raise TooLong(least)
        spelled: dict[str, list[int]] = {}
        ids: list[int] = []
        for text, said in pieces:
            if not said:
                ids += self.read(text, special=False)
            else:
                if text not in spelled:
                    spelled[text] = self.control.spell(text, self._plain)
                ids += spelled[text]
            if len(ids) > self.context:
                raise TooLong(len(ids))
        return ids

    def _plain(self, text: str) -> list[int]:
        return self.tokenizer.encode(text, add_special_tokens=False)

    async def _run(self, tenant: str, work: Callable[[], T]) -> T:
        """``work`` in one of the threads, when it is the tenant's turn. Raises ApiError 429."""
        try:
            count = await self._slots.enter(1, tenant=tenant)
        except QueueFull as error:
            raise too_many(f"The server is busy: {error}.", "queue", 2.0) from None
        loop = asyncio.get_running_loop()
        running = loop.run_in_executor(self._threads, work)
        # The thread is taken until the work is done, even if nobody waits for it any more.
        running.add_done_callback(partial(self._leave, count))
        return await asyncio.shield(running)

    def _leave(self, count: int, running: asyncio.Future[Any]) -> None:
        self._slots.leave(count)
        if not running.cancelled():
            running.exception()  # has been looked at
