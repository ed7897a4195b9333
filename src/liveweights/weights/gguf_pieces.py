"""The tokenizer of a GGUF whose tokens are SentencePiece's, merged as llama.cpp merges them.

llama.cpp puts characters together by the scores of what they become, the highest first, of equal
ones the leftmost (``llm_tokenizer_spm_session`` in its ``src/llama-vocab.cpp``); bytes stand for
what is no token. That is byte-pair encoding whose merges are ranked by score: every way to make a
token of two others is a merge.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

SPACE = "\u2581"
"""How a space is written in tokens."""
LONGEST = 1024
"""Characters of a token: each place where it can be cut is looked at."""
BYTE_TOKENS = tuple(f"<0x{byte:02X}>" for byte in range(256))


def check_pieces(facts: Mapping[str, Any]) -> str | None:
    """Why no tokenizer is made of these tokens; None where one is."""
    tokens: Sequence[str] = facts["tokenizer.ggml.tokens"]
    scores: Any = facts.get("tokenizer.ggml.scores")
    if not isinstance(scores, list) or not all(type(one) is float for one in scores):
        return "has no tokenizer.ggml.scores, by which its tokens are merged"
    if len(scores) != len(tokens):
        return f"has scores of {len(scores)} tokens, and {len(tokens)} tokens"
    if any(score != score for score in scores):
        return "has tokenizer.ggml.scores that are no numbers"
    if (longest := max(map(len, tokens), default=0)) > LONGEST:
        return f"has a token of {longest} characters; merged are those of up to {LONGEST}"
    if len({*tokens}) != len(tokens):
        return "has a token twice in tokenizer.ggml.tokens"
    if lacking := {*BYTE_TOKENS} - {*tokens}:
        return f"has no token {min(lacking)} for a byte that is no character"
    return None


def make_backend(facts: Mapping[str, Any]) -> Any:
    """A ``tokenizers.Tokenizer`` without special tokens, of metadata that ``check_pieces`` passed.

    What it decodes begins with the space that a text is encoded with, if it is: an answer goes on
    where the prompt ended, and so that space is its own.
    """
    from tokenizers import Tokenizer
    from tokenizers.decoders import ByteFallback, Fuse
    from tokenizers.decoders import Replace as Respell
    from tokenizers.decoders import Sequence as Decoders
    from tokenizers.models import BPE
    from tokenizers.normalizers import Prepend, Replace
    from tokenizers.normalizers import Sequence as Normalizers

    tokens: Sequence[str] = facts["tokenizer.ggml.tokens"]
    merges = list(rank_merges(tokens, facts["tokenizer.ggml.scores"]))
    vocabulary = {token: id for id, token in enumerate(tokens)}
    backend: Any = Tokenizer(BPE(vocab=vocabulary, merges=merges, byte_fallback=True))
    begin = [Prepend(SPACE)] if facts.get("tokenizer.ggml.add_space_prefix", True) else []
    backend.normalizer = Normalizers([*begin, Replace(" ", SPACE)])
    backend.decoder = Decoders([Respell(SPACE, " "), ByteFallback(), Fuse()])
    return backend


def rank_merges(tokens: Sequence[str], scores: Sequence[float]) -> Iterator[tuple[str, str]]:
    """Every pair of tokens that is a token, too, in the order in which they are merged."""
    known = {*tokens}
    for number in sorted(range(len(tokens)), key=lambda number: -scores[number]):
        token = tokens[number]
        for cut in range(1, len(token)):
            if token[:cut] in known and token[cut:] in known:
                yield token[:cut], token[cut:]
