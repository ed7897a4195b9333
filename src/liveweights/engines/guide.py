"""Which tokens may come next under a constraint, by llguidance."""

from __future__ import annotations

import asyncio
import heapq
import logging
import re
from collections.abc import Collection, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import suppress
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np

from liveweights.engines.deep_threads import start_deep_threads
from liveweights.engines.json_schema import JSON_STYLE
from liveweights.engines.json_strings import StringReader, StringVocabulary, text_then_end
from liveweights.engines.protocol import Constraint, InvalidConstraint, StringGrammar
from liveweights.engines.thinking import BudgetKeeper

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from transformers import PreTrainedTokenizerBase

log = logging.getLogger(__name__)

THREADS = 2
"""That compile grammars, and so many again that compute masks. Both let other threads go on."""
LEXER_STATES = 50_000
"""Of one grammar, about a kilobyte each; far more than those that people write need."""
LONGEST = 256 << 10
"""Characters of one grammar or schema. The compiler recurses from one rule or definition to the
next and takes up to half a kilobyte of stack for a character; a thread that compiles has twice that
for the longest."""


class Guide:
    """Follows one answer. What may come next is computed beside whatever else is done, from the
    moment that the token before it is known."""

    def __init__(
        self,
        matcher: Any,
        ends: frozenset[int],
        masks: Executor,
        about: str,
        strings: StringReader | None = None,
        thinking: BudgetKeeper | None = None,
    ) -> None:
        """Without a ``matcher`` any token may come."""
        self._matcher = matcher
        self._thinking = thinking
        self._strings = strings
        self._about = about
        self._ends = sorted(ends)
        self._masks = masks
        self._next = None if matcher is None else masks.submit(self._compute, None)

    async def ready(self) -> None:
        """Return once ``allowed`` need not wait."""
        if self._next is not None and not self._next.done():
            await asyncio.wait({asyncio.wrap_future(self._next)})

    def allowed(self, size: int) -> NDArray[np.bool_]:
        """Of ``size`` tokens [V], those that may come next; at least one. Raises
        InvalidConstraint."""
        mask = np.zeros(size, dtype=np.bool_)
        if self._thinking is not None and (forced := self._thinking.forced) is not None:
            mask[forced] = True
            return mask
        if self._next is None:
            return ~mask
        bits, accepting, error = self._next.result()
        bits_V = np.unpackbits(bits, bitorder="little")[:size].astype(np.bool_)
        mask[: len(bits_V)] = bits_V
        ends = [end for end in self._ends if end < size]
        mask[ends] = accepting
        if error is not None or not mask.any():
            log.warning("an answer broke off: %s", error or "no token can follow")
            raise InvalidConstraint(
                f"{self._about} cannot be followed to its end with this model's tokens"
            )
        return mask

    def push(self, token: int) -> None:
        """Take the token that was drawn."""
        if self._thinking is not None:
            self._thinking.push(token)
        if self._next is not None:
            # Where a token was forced nobody has waited, and the matcher takes one at a time.
            self._next.result()
            self._next = self._masks.submit(self._compute, token)

    def _compute(self, token: int | None) -> tuple[NDArray[np.uint8], bool, str | None]:
        """Bits of what may follow ``token``, whether the answer may end there, what is wrong."""
        matcher = self._matcher
        if token is not None and token not in self._ends:
            matcher.consume_token(token)  # an error stays in the matcher
            if self._strings is not None:
                self._strings.push(token, matcher)
        bits = np.frombuffer(matcher.compute_bitmask(), dtype=np.uint8)
        error: str | None = matcher.get_error() if matcher.is_error() else None
        if self._strings is not None and error is None:
            bits, error = self._strings.narrow(bits)
        return bits, matcher.is_accepting(), first_line(error) if error else None


class GuideMaker:
    """Makes guides for one tokenizer. ``ends`` are the ids that end an answer."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, ends: Collection[int]) -> None:
        self._tokenizer = tokenizer
        self._ends = frozenset(ends)
        self._native: Any = None
        self._vocabulary: StringVocabulary | None = None
        self._lock = asyncio.Lock()
        self._line = ShortestFirst(THREADS)
        # Beyond the end of its stack the compiler would end the process.
        self._compiling = start_deep_threads(THREADS, "grammars")
        self._masks = ThreadPoolExecutor(THREADS, "masks")

    async def prepare(self) -> None:
        """Build the tokenizer's tables, which stops everything for a second where the vocabulary
        is large: before anybody asks for anything. What it cannot do, ``make`` says."""
        with suppress(InvalidConstraint):
            await self._tables()

    async def make(self, constraint: Constraint) -> Guide:
        """Compiling may take a second; it is done off the event loop, the shortest first. Raises
        InvalidConstraint."""
        if constraint.kind == "any":
            return self._guide(None, constraint)
        _check_length(constraint.about, constraint.source)
        for string in constraint.strings:
            _check_length(string.about, string.source)
        native = await self._tables()
        vocabulary = await self._string_tables(native) if constraint.strings else None
        loop = asyncio.get_running_loop()
        size = len(constraint.source) + sum(len(string.source) for string in constraint.strings)
        await self._line.enter(size)
        work = loop.run_in_executor(self._compiling, self._compile, native, vocabulary, constraint)
        # The place is taken until the work is done, even if nobody waits for it any more.
        work.add_done_callback(self._leave)
        return await asyncio.shield(work)

    def _leave(self, work: asyncio.Future[Guide]) -> None:
        self._line.leave()
        if not work.cancelled():
            work.exception()  # has been looked at

    async def _tables(self) -> Any:
        async with self._lock:
            if self._native is None:
                loop = asyncio.get_running_loop()
                self._native = await loop.run_in_executor(self._compiling, self._wrap)
            return self._native

    async def _string_tables(self, native: Any) -> StringVocabulary:
        async with self._lock:
            vocabulary = self._vocabulary
            if vocabulary is None:
                loop = asyncio.get_running_loop()
                work = loop.run_in_executor(self._compiling, StringVocabulary, native)
                self._vocabulary = vocabulary = await work
            return vocabulary

    def _wrap(self) -> Any:
        from llguidance.hf import from_tokenizer

        tokenizer: Any = self._tokenizer
        try:
            return from_tokenizer(tokenizer, eos_token=sorted(self._ends))
        except ValueError as error:
            raise InvalidConstraint(f"this tokenizer cannot be constrained: {error}") from error

    def _compile(
        self, native: Any, vocabulary: StringVocabulary | None, constraint: Constraint
    ) -> Guide:
        try:
            source = grammar(constraint)
        except ValueError as error:
            raise _not_understood(constraint.about, str(error)) from error
        matcher = _matcher(native, source, constraint.about)
        strings = None
        if vocabulary is not None:
            matchers = {s.rule: _string_matcher(vocabulary, s) for s in constraint.strings}
            openings = {s.rule: s.opening for s in constraint.strings}
            strings = StringReader(vocabulary, matchers, openings)
        return self._guide(matcher, constraint, strings)

    def _guide(
        self, matcher: Any, constraint: Constraint, strings: StringReader | None = None
    ) -> Guide:
        budget = constraint.thinking
        keeper = BudgetKeeper(budget, self._decode) if budget is not None else None
        return Guide(matcher, self._ends, self._masks, constraint.about, strings, keeper)

    def _decode(self, ids: Sequence[int]) -> str:
        tokenizer: Any = self._tokenizer
        return tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)


def _check_length(about: str, source: str) -> None:
    """Raises InvalidConstraint."""
    if len(source) > LONGEST:
        raise InvalidConstraint(
            f"{about} has {len(source)} characters as a grammar; {LONGEST} can be followed"
        )


def _string_matcher(vocabulary: StringVocabulary, string: StringGrammar) -> Any:
    """Raises InvalidConstraint."""
    from llguidance import regex_to_lark

    source = string.source
    if string.kind == "regex":
        source = f"start: /{regex_to_lark(source, use_ascii='')}/" if source else 'start: ""'
    # By itself first: what is wrong is said with the lines of who wrote it.
    _matcher(vocabulary.native, _lark(source), string.about)
    return _matcher(vocabulary.native, _lark(text_then_end(source)), string.about)


def _matcher(native: Any, source: str, about: str) -> Any:
    """Raises InvalidConstraint."""
    from llguidance import LLMatcher, LLParserLimits

    make: Any = LLMatcher
    limits = LLParserLimits(max_lexer_states=LEXER_STATES, verbose_errors=False)
    try:
        matcher = make(native, source, log_level=0, limits=limits)
    except (ValueError, RecursionError) as error:
        raise _not_understood(about, str(error)) from error
    if matcher.is_error():
        raise _not_understood(about, matcher.get_error())
    return matcher


def _not_understood(about: str, why: str) -> InvalidConstraint:
    """With the first line of what is wrong, and that in which a regular expression's fault is."""
    reason = first_line(why).partition(";")[0]
    faults = re.findall(r"^error: (.*)$", why, re.MULTILINE)
    return InvalidConstraint(f"{about} is not understood: {'; '.join([reason, *faults])[:200]}")


class ShortestFirst:
    """At most ``size`` at once; of those who wait, the one with least to do is next, so that what
    is long keeps only what is longer waiting. For use from one event loop."""

    def __init__(self, size: int) -> None:
        self._free = size
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._numbers = count()

    async def enter(self, length: int) -> None:
        """Take one of the places, until ``leave``."""
        if self._free:
            self._free -= 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (length, next(self._numbers), turn))
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():  # it was granted at the same moment
                self.leave()
            raise

    def leave(self) -> None:
        """Give a place back."""
        self._free += 1
        while self._waiting and self._free:
            _, _, turn = heapq.heappop(self._waiting)
            if not turn.done():
                self._free -= 1
                turn.set_result(None)


def first_line(text: str) -> str:
    return text.strip().partition("\n")[0]


def grammar(constraint: Constraint) -> str:
    """``constraint`` as llguidance takes it. Raises ValueError."""
    from llguidance import LLMatcher

    native: Any = LLMatcher
    if constraint.kind == "lark":
        return _lark(constraint.source)
    source = constraint.source if constraint.kind == "json_schema" else '{"type": "object"}'
    return native.grammar_from_json_schema(source, overrides=JSON_STYLE)


def _lark(source: str) -> str:
    from llguidance import LLMatcher

    return LLMatcher.grammar_from_lark(source)
