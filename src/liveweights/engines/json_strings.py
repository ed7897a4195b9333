"""Texts with a grammar of their own that a model writes inside a JSON string, as an argument of a
call.

The grammar is of the text; the model writes it escaped. Each token is read as the text that it
spells inside a string, and the grammar runs over that, by llguidance, as over any other text.
Escapes are those of ``_ESCAPED``: a text that needs another one cannot be written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_QUOTE, _ESCAPE = b'"', b"\\"
_ESCAPED = {ord(b): ord(text) for b, text in zip('"\\bfnrt', '"\\\b\f\n\r\t', strict=True)}
_END = b"\xfe"
"""Stands for the closing quote; no byte of UTF-8."""
_NAME = b"<end of text>"
"""Of the token that ends a text: no grammar can say a name with blanks."""
_BYTES = 256
_TEXT_THEN_END = """%llguidance { "allow_invalid_utf8": true, "no_forcing": true }
start: text END
END: /(?-u:\\xFE)/
text: %lark {
GRAMMAR
}
"""


def spelled(token: bytes, *, escaping: bool = False) -> tuple[bytes, bool] | None:
    """The text that a token spells inside a string, and whether it ends in the middle of an escape.

    What stands after the closing quote is left out; the quote is ``_END``. ``escaping`` says that
    the escape's first character came before. None for what cannot stand there.
    """
    text = bytearray()
    for byte in token:
        if escaping:
            if byte not in _ESCAPED:
                return None
            text.append(_ESCAPED[byte])
            escaping = False
        elif byte == _QUOTE[0]:
            return bytes(text) + _END, False
        elif byte == _ESCAPE[0]:
            escaping = True
        elif byte < 0x20:
            return None
        else:
            text.append(byte)
    return bytes(text), escaping


class StringVocabulary:
    """A vocabulary as it reads inside strings. ``native`` is llguidance's tokenizer.

    For llguidance it is the 256 bytes, then each token as it reads in a string, then each as it
    reads in the middle of an escape. One that ends in such a middle is there once for every way to
    go on.
    """

    def __init__(self, native: Any) -> None:
        from llguidance import LLTokenizer

        self.size: int = native.vocab_size
        self.tokens: list[bytes] = [
            b"" if native.is_special_token(id) else native.decode_bytes([id])
            for id in range(self.size)
        ]
        self.crossing = [id for id, token in enumerate(self.tokens) if _QUOTE in token[:-1]]
        """Tokens that go on after a quote."""
        texts = [bytes([byte]) for byte in range(_BYTES)]
        self._entries: dict[bool, tuple[int, NDArray[np.intp]]] = {}
        """By whether an escape has begun: where its texts begin, and whose they are."""
        for escaping in (False, True):
            begin, ids = len(texts), list[int]()
            for id, token in enumerate(self.tokens):
                ways = _ways(token, escaping)
                ids += [id] * len(ways)
                texts += ways
            self._entries[escaping] = begin, np.array(ids, dtype=np.intp)
        self.native: Any = LLTokenizer(_Wrapper([*texts, _NAME]))  # type: ignore[arg-type]

    def allowed(self, bits: bytes, *, escaping: bool) -> NDArray[np.bool_]:
        """The real tokens [V] that llguidance's mask of these allows."""
        unpacked = np.unpackbits(np.frombuffer(bits, dtype=np.uint8), bitorder="little")
        begin, ids = self._entries[escaping]
        found = np.zeros(self.size, dtype=np.bool_)
        found[ids[unpacked[begin : begin + len(ids)].astype(np.bool_)]] = True
        return found


def _ways(token: bytes, escaping: bool) -> list[bytes]:
    """What a token may spell; nothing where it cannot stand in a string."""
    read = spelled(token, escaping=escaping) if token else None
    if read is None:
        return []
    text, cut = read
    return [text + bytes([end]) for end in _ESCAPED.values()] if cut else [text]


class _Wrapper:
    """What llguidance takes as a tokenizer; the last of ``tokens`` ends a text."""

    is_tokenizer_wrapper = True
    bos_token_id = None

    def __init__(self, tokens: Sequence[bytes]) -> None:
        self.tokens = tokens
        self.eos_token_id = len(tokens) - 1
        self.special_token_ids = [len(tokens) - 1]

    def __call__(self, text: str) -> list[int]:
        return []  # nothing is encoded


def text_then_end(grammar: str) -> str:
    """A grammar in Lark of what ``grammar`` lets through and the closing quote."""
    return _TEXT_THEN_END.replace("GRAMMAR", grammar)


class StringReader:
    """Follows the strings of one answer. ``matchers`` are llguidance's, by the name of the rule
    that comes before the string; ``openings`` is what that rule says."""

    def __init__(
        self, vocabulary: StringVocabulary, matchers: Mapping[str, Any], openings: Mapping[str, str]
    ) -> None:
        self._vocabulary = vocabulary
        self._matchers = matchers
        self._openings = {rule: opening.encode() for rule, opening in openings.items()}
        self._longest = max(map(len, self._openings.values()))
        self._never = self._that_go_on_after(list(self._openings.values()), within=True)
        self._before = b""
        """The last bytes of the answer, outside of strings."""
        self._opened = 0
        self._inside: Any = None
        self._escaping = False

    def push(self, token: int, matcher: Any) -> None:
        """Take the token that was drawn. ``matcher`` is the answer's own, which has taken it."""
        said = self._vocabulary.tokens[token] if token < self._vocabulary.size else b""
        if self._inside is not None:
            self._write(said)
            return
        self._before = (self._before + said)[-self._longest :]
        captures: list[tuple[str, bytes]] = matcher.get_captures()
        if len(captures) == self._opened:
            return
        rule = captures[-1][0]
        # It comes with the first token of a text that cannot be any other.
        if self._before.endswith(self._openings[rule]):
            self._opened = len(captures)
            self._inside = self._matchers[rule].deep_copy()
            self._escaping = False

    def _write(self, said: bytes) -> None:
        read = spelled(said, escaping=self._escaping)
        assert read is not None, "a token was drawn that was not allowed"
        text, self._escaping = read
        self._inside.consume_tokens(list(text))
        if text.endswith(_END):
            self._inside, self._before = None, b""

    def narrow(self, bits: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], str | None]:
        """Of the tokens that the answer's own matcher allows, as bits, those that the string lets
        through; what is wrong."""
        if self._inside is not None:
            mask = self._inside.compute_bitmask()
            error = self._inside.get_error() if self._inside.is_error() else None
            inside = self._vocabulary.allowed(mask, escaping=self._escaping)
            return _both(bits, inside), error
        return self._without_crossing(bits), None

    def _without_crossing(self, bits: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """A string begins with a token of its own, so that all of its text is read."""
        rests = [rest for o in self._openings.values() if (rest := _rest(self._before, o))]
        crossing = self._never + (self._that_go_on_after(rests) if rests else [])
        if not crossing:
            return bits
        allowed = np.unpackbits(bits, bitorder="little")
        allowed[crossing] = 0
        return np.packbits(allowed, bitorder="little")

    def _that_go_on_after(self, parts: Sequence[bytes], *, within: bool = False) -> list[int]:
        """Tokens that begin with one of ``parts``, or have it somewhere ``within``, and more."""
        tokens = self._vocabulary.tokens
        return [
            id
            for id in self._vocabulary.crossing
            for part in parts
            if (part in tokens[id][:-1] if within else tokens[id][:-1].startswith(part))
        ]


def _rest(said: bytes, opening: bytes) -> bytes:
    """What is left of ``opening`` where ``said`` ends with its beginning; nothing elsewhere."""
    for length in range(min(len(said), len(opening) - 1), 0, -1):
        if said.endswith(opening[:length]):
            return opening[length:]
    return b""


def _both(bits: NDArray[np.uint8], allowed_V: NDArray[np.bool_]) -> NDArray[np.uint8]:
    packed = np.packbits(allowed_V, bitorder="little")
    out = np.zeros_like(bits)
    out[: len(packed)] = bits[: len(packed)] & packed
    return out
