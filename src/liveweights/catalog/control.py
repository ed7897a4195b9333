"""Control tokens in what somebody says: text like any other.

A template puts control tokens around messages, such as the one that ends a turn. Where a message
has the same characters, they must not become the token: whoever wrote it would speak as somebody
else. So they are hidden from the template and from the tokenizer, and read as the characters that
they are.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from typing import Any, cast

_OPEN, _CLOSE = "\ue000", "\ue001"
"""Of a mark; for private use, and a tokenizer never sees them."""


class Hidden:
    """What was hidden of one conversation, and how to find it in the prompt."""

    def __init__(self, pattern: re.Pattern[str] | None) -> None:
        self._pattern = pattern
        self._nonce = secrets.token_hex(4)
        self._places: dict[str, int] = {}
        """By text, in the order in which they came."""
        self.count = 0

    def hide(self, value: Any) -> Any:
        """Texts, lists and objects, with marks for control tokens."""
        if self._pattern is None:
            return value
        if isinstance(value, str):
            return self._pattern.sub(self._mark, value)
        if isinstance(value, list):
            return [self.hide(item) for item in cast(list[Any], value)]
        if isinstance(value, dict):
            members = cast(dict[str, Any], value)
            return {self.hide(name): self.hide(member) for name, member in members.items()}
        return value

    def _mark(self, match: re.Match[str]) -> str:
        self.count += 1
        place = self._places.setdefault(match[0], len(self._places))
        return f"{_OPEN}{self._nonce}{place:x}{_CLOSE}"

    def pieces(self, prompt: str) -> list[tuple[str, bool]]:
        """The parts of ``prompt`` in order, and whether each was hidden."""
        if not self._places:
            return [(prompt, False)]
        texts = list(self._places)
        parts = re.split(f"{_OPEN}{self._nonce}([0-9a-f]+){_CLOSE}", prompt)
        found: list[tuple[str, bool]] = []
        for number, part in enumerate(parts):
            if number % 2:
                found.append((texts[int(part, 16)], True))
            elif part:
                found.append((part, False))
        return found


class ControlTokens:
    """Those of one tokenizer."""

    def __init__(self, tokenizer: Any) -> None:
        added: dict[int, Any] = getattr(tokenizer, "added_tokens_decoder", {})
        names = {token.content for token in added.values() if token.special and token.content}
        longest = sorted(map(re.escape, names), key=len, reverse=True)
        self._pattern = re.compile("|".join(longest)) if longest else None

    def hidden(self) -> Hidden:
        """For one conversation."""
        return Hidden(self._pattern)

    def spell(self, text: str, encode: Callable[[str], list[int]]) -> list[int]:
        """The tokens of a control token's characters."""
        rest = text[1:]
        apart = self._pattern is not None and self._pattern.search(rest) is not None
        parts = list(text) if apart else [text[:1], rest]
        return [id for part in parts if part for id in encode(part)]
