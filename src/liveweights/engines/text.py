"""From token ids to the text that a user sees, one token at a time."""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from liveweights.engines.stops import Stops
from liveweights.weights.byte_level import is_byte_level, token_bytes

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

HALF = "\ufffd"
"""What tokenizers make of bytes that are no character."""
CONTEXT = 8
"""So many tokens before it, at least, decide how a token is decoded: of known decoders one does."""
PATIENCE = 64
"""Tokens of which nothing is certain, beyond which that is looked for less often."""


def heal(prompt: str) -> tuple[str, str]:
    """Cut one trailing whitespace character off a prompt: ``(prompt, skip)``.

    GPT-2 style tokenizers attach a space to the word that follows. A prompt that ends in one
    forces the model out of its usual tokens: for ``"x = "`` it must go on without the space that
    nearly every word begins with. The answer is then expected to begin with ``skip``, which is
    not shown. A prompt that consists of one character is left alone.
    """
    if len(prompt) > 1 and prompt[-1].isspace():
        return prompt[:-1], prompt[-1]
    return prompt, ""


def special_ids(tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """Ids of the tokens that stand for no text, end-of-text among them."""
    added: dict[int, Any] = getattr(tokenizer, "added_tokens_decoder", {})
    marked = {i for i, token in added.items() if token.special}
    return frozenset(marked | set(tokenizer.all_special_ids))


class TextStream:
    """Decodes an answer as it is sampled.

    Joined, what ``push`` and ``finish`` return is the decoded text of all ids without special
    tokens, without ``skip`` at its beginning, up to the ``stop`` string that is complete first.
    What may become a stop string is held back, and so is half a character: one that the answer ends
    in is not shown.
    """

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, stop: Sequence[str] = (), skip: str = ""
    ) -> None:
        self._decoder: _Decoder = (
            _ByteDecoder(tokenizer) if is_byte_level(tokenizer) else _WindowDecoder(tokenizer)
        )
        self._stops = Stops(stop)
        self._skip = skip
        self._held = ""
        self.stopped = False
        """Whether a stop string was met. Nothing becomes visible after it."""

    def push(self, token_id: int) -> str:
        """Take the next token; the text that becomes visible with it."""
        return self._take(self._decoder.push(token_id), last=False)

    def push_text(self, text: str) -> str:
        """Take text whose tokens are not known; what becomes visible with it."""
        return self._take(text, last=False)

    def finish(self) -> str:
        """No more tokens: the text that was held back."""
        return self._take(self._decoder.finish(), last=True)

    def _take(self, text: str, *, last: bool) -> str:
        if self.stopped:
            return ""
        if self._skip:
            self._held += text
            if len(self._held) < len(self._skip) and not last:
                return ""
            # Another beginning than expected is the model's choice and is shown as it is.
            text, self._held, self._skip = self._held.removeprefix(self._skip), "", ""
        match = self._stops.find(text)
        if match is not None:
            self.stopped = True
            end, length = match
            visible, self._held = (self._held + text[:end])[:-length], ""
            return visible
        text = self._held + text
        cut = len(text) - (0 if last else self._stops.begun)
        visible, self._held = text[:cut], text[cut:]
        return visible


class _Decoder(Protocol):
    def push(self, token_id: int) -> str: ...

    def finish(self) -> str: ...


class _ByteDecoder:
    """Byte-level tokens are bytes; UTF-8 puts them together."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer: Any = tokenizer
        self._special = special_ids(tokenizer)
        self._utf8 = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def push(self, token_id: int) -> str:
        if token_id in self._special:
            return ""
        token: str | None = self._tokenizer.convert_ids_to_tokens(token_id)
        return self._utf8.decode(token_bytes(token)) if token else ""

    def finish(self) -> str:
        return ""  # what is left is half a character


class _WindowDecoder:
    """For any other tokenizer: decode the last ids again, and show what has become certain.

    They are decoded behind a letter, which is taken off again: many decoders drop the space that a
    text begins with, and an answer goes on in the middle of one. Where no character is half, those
    before the last ``CONTEXT`` are not looked at any more.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer: Any = tokenizer
        letter: list[int] = self._tokenizer.encode("a", add_special_tokens=False)
        self._letter = letter[-1:]
        self._begin = self._decode([])
        self._ids: list[int] = []
        """The window."""
        self._shown = ""
        """What was shown of its text."""
        self._due = 0
        """How many ids it has when it is decoded next."""

    def push(self, token_id: int) -> str:
        self._ids.append(token_id)
        if len(self._ids) < self._due:
            return ""
        text = self._text(self._ids)
        # A replacement character at the end may be the first half of a whole one, and a
        # decoder may still change a space there.
        certain = text.rstrip(HALF)
        new = ""
        if certain.startswith(self._shown):
            new, self._shown = certain[len(self._shown) :], certain
            if certain == text:
                self._cut(text)
        # Of bytes that are no characters nothing is certain: what is long is not decoded each time.
        count = len(self._ids)
        self._due = count + count // 8 if count > PATIENCE else 0
        return new

    def finish(self) -> str:
        text = self._text(self._ids).rstrip(HALF)
        return text[len(self._shown) :] if text.startswith(self._shown) else ""

    def _cut(self, text: str) -> None:
        """Forget ids that what is to come does not depend on."""
        if len(self._ids) < 2 * CONTEXT:
            return
        for count in range(CONTEXT, CONTEXT + 4):  # a token may be one of a character's bytes
            ids = self._ids[-count:]
            end = self._text(ids)
            if text.endswith(end):
                self._ids, self._shown = ids, end
                return

    def _text(self, ids: list[int]) -> str:
        return self._decode(ids).removeprefix(self._begin)

    def _decode(self, ids: list[int]) -> str:
        return self._tokenizer.decode(
            self._letter + ids, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
