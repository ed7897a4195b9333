"""Which tokens may come next under a constraint, by llguidance."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import numpy as np

from liveweights.engines.protocol import Constraint, InvalidConstraint

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from transformers import PreTrainedTokenizerBase

# One way to write JSON, so that a small model cannot lose itself in white space.
_JSON: dict[str, Any] = {
    "whitespace_flexible": False,
    "item_separator": ", ",
    "key_separator": ": ",
}


class Guide:
    """Follows one answer."""

    def __init__(self, matcher: Any, ends: frozenset[int]) -> None:
        self._matcher = matcher
        self._ends = sorted(ends)

    def allowed(self, size: int) -> NDArray[np.bool_]:
        """Of ``size`` tokens [V], those that may come next; at least one."""
        bits = np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint8)
        mask = np.zeros(size, dtype=np.bool_)
        found = np.unpackbits(bits, bitorder="little")[:size].astype(np.bool_)
        mask[: len(found)] = found
        ends = [end for end in self._ends if end < size]
        mask[ends] = self._matcher.is_accepting()
        if self._matcher.is_error() or not mask.any():
            raise InvalidConstraint(f"the constraint broke off: {self._matcher.get_error()}")
        return mask

    def push(self, token: int) -> None:
        """Take the token that was drawn."""
        if token not in self._ends and not self._matcher.consume_token(token):
            raise InvalidConstraint(f"the constraint broke off: {self._matcher.get_error()}")


class GuideMaker:
    """Makes guides for one tokenizer. ``ends`` are the ids that end an answer."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, ends: Collection[int]) -> None:
        self._tokenizer = tokenizer
        self._ends = frozenset(ends)
        self._native: Any = None
        self._lock = asyncio.Lock()

    async def make(self, constraint: Constraint) -> Guide:
        """Compiling may take seconds; it is done off the event loop. Raises InvalidConstraint."""
        async with self._lock:  # the tokenizer's tables are built once, at first use
            if self._native is None:
                self._native = await asyncio.to_thread(self._wrap)
        return await asyncio.to_thread(self._compile, constraint)

    def _wrap(self) -> Any:
        from llguidance.hf import from_tokenizer

        tokenizer: Any = self._tokenizer
        try:
            return from_tokenizer(tokenizer, eos_token=sorted(self._ends))
        except ValueError as error:
            raise InvalidConstraint(f"this tokenizer cannot be constrained: {error}") from error

    def _compile(self, constraint: Constraint) -> Guide:
        from llguidance import LLMatcher

        native: Any = LLMatcher
        try:
            matcher = native(self._native, grammar(constraint), log_level=0)
        except (ValueError, RecursionError) as error:
            raise InvalidConstraint(f"the constraint is not understood: {error}") from error
        if matcher.is_error():
            reason = matcher.get_error().strip().partition("\n")[0]
            raise InvalidConstraint(f"the constraint is not understood: {reason}")
        return Guide(matcher, self._ends)


def grammar(constraint: Constraint) -> str:
    """``constraint`` as llguidance takes it. Raises ValueError."""
    from llguidance import LLMatcher

    native: Any = LLMatcher
    if constraint.kind == "lark":
        return native.grammar_from_lark(constraint.source)
    source = constraint.source if constraint.kind == "json_schema" else '{"type": "object"}'
    return native.grammar_from_json_schema(source, overrides=_JSON)


def json_rule(schema: Any) -> str:
    """A JSON schema as an expression inside a Lark grammar."""
    if isinstance(schema, dict):
        schema = {**schema, "x-guidance": _JSON}
    return f"%json {json.dumps(schema)}"
