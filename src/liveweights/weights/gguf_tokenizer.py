"""The tokenizer that a GGUF's metadata describes: byte-level BPE, split as llama.cpp splits, or
SentencePiece's (``gguf_pieces``).

Names of pre-tokenizers and their patterns are llama.cpp's (``llama_vocab::impl::load`` and
``llm_tokenizer_bpe`` in its ``src/llama-vocab.cpp``), so that a file means here what it means
there. Where a pattern there is an approximation of the original, the one there is taken.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from liveweights.weights.byte_level import ends_within_character
from liveweights.weights.gguf_pieces import check_pieces, make_backend
from liveweights.weights.tensors import BrokenFile

_CONTRACTIONS = r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])"
_SPACES = r"\s*[\r\n]+|\s+(?!\S)|\s+"
_WORDS = _CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}%s| ?[^\s\p{L}\p{N}]+[\r\n]*|" + _SPACES
_MARKED_WORDS = (
    _CONTRACTIONS
    + r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|"
    + _SPACES
)
_LOWER = r"[^\r\n\p{L}\p{N}]?((?=[\p{L}])([^a-z]))*((?=[\p{L}])([^A-Z]))+"
_UPPER = r"[^\r\n\p{L}\p{N}]?((?=[\p{L}])([^a-z]))+((?=[\p{L}])([^A-Z]))*"
_CASED_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|" + _SPACES
_TEKKEN = _LOWER + "|" + _UPPER + r"|\p{N}" + _CASED_REST
_GPT4O = _LOWER + _CONTRACTIONS + "?|" + _UPPER + _CONTRACTIONS + r"?|\p{N}{1,3}" + _CASED_REST
_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)"
_DEEPSEEK = (
    r"\p{N}{1,3}",
    "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+",
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
    r"| ?[\p{P}\p{S}]+[\r\n]*|" + _SPACES,
)
_DEEPSEEK_CODER = (
    r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+", r"\p{N}",
)  # fmt: skip
_KIMI = (
    r"\p{Han}+|[^\r\n\p{L}\p{N}]?[\p{L}&&[^\p{Han}]]+" + _CONTRACTIONS + "?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|" + _SPACES
)


@dataclass(frozen=True, slots=True)
class Splitting:
    """Patterns by which text is cut, one after the other; ``whole_words``: a piece that is a token
    is that token, whatever the merges make of it; ``begins``: where the file does not say, texts
    begin with the token for that."""

    patterns: tuple[str, ...]
    whole_words: bool = False
    begins: bool = False


_LLAMA3 = Splitting((_WORDS % "{1,3}",), whole_words=True, begins=True)
_LLAMA3_MERGED = Splitting((_WORDS % "{1,3}",))
_QWEN2 = Splitting((_WORDS % "",))
_CASED = Splitting((_GPT4O,))
_PLAIN = Splitting((_GPT2,))
_DIGITS = Splitting((r"\p{N}", _GPT2))
_DEEPSEEK_V3 = Splitting(_DEEPSEEK)

SPLITTINGS: Mapping[str, Splitting] = {
    "chatglm-bpe": _LLAMA3_MERGED,
    "codeshell": _DIGITS,
    "command-r": _DIGITS,
    "dbrx": _LLAMA3_MERGED,
    "deepseek-coder": Splitting(_DEEPSEEK_CODER),
    "deepseek-r1-qwen": _QWEN2,
    "deepseek-v3": _DEEPSEEK_V3,
    "exaone": _DIGITS,
    "falcon-h1": _LLAMA3,
    "falcon3": _LLAMA3,
    "glm4": _LLAMA3_MERGED,
    "gpt-2": _PLAIN,
    "gpt-4o": _CASED,
    "hunyuan-dense": _DEEPSEEK_V3,
    "kimi-k2": Splitting((_KIMI,)),
    "lfm2": _LLAMA3,
    "llama-bpe": _LLAMA3,
    "llama-v3": _LLAMA3,
    "llama3": _LLAMA3,
    "llama4": _CASED,
    "megrez": _QWEN2,
    "midm-2.0": _LLAMA3,
    "minimax-m2": _CASED,
    "mpt": _PLAIN,
    "olmo": _PLAIN,
    "phi-2": _PLAIN,
    "pixtral": _LLAMA3,
    "qwen2": _QWEN2,
    "qwen35": Splitting((_MARKED_WORDS,)),
    "refact": _DIGITS,
    "smaug-bpe": _LLAMA3_MERGED,
    "smollm": _DIGITS,
    "stablelm2": _QWEN2,
    "starcoder": _DIGITS,
    "tekken": Splitting((_TEKKEN,), whole_words=True, begins=True),
    "trillion": _PLAIN,
}
"""Pre-tokenizers that a tokenizer is made for."""

PIECES = "llama"
"""What llama.cpp calls a tokenizer of SentencePiece."""
UNKNOWN, CONTROL, USER_DEFINED = 2, 3, 4
"""Types of tokens (``TokenType`` in the gguf package)."""
_STRIPPING = ("phi-3", "phi3")
_NOT_STRIPPING = ("<unk>", "<s>", "<|endoftext|>")
_SPECIAL = {"bos": "bos_token", "eos": "eos_token", "padding": "pad_token", "unknown": "unk_token"}
_NAMED = "tokenizer.chat_template."


def check_tokenizer(facts: Mapping[str, Any]) -> str | None:
    """Why no tokenizer is made of a file's metadata; None where one is."""
    kind, pre = facts.get("tokenizer.ggml.model"), facts.get("tokenizer.ggml.pre")
    if kind != PIECES and (kind != "gpt2" or pre not in SPLITTINGS):
        return (
            f"has a tokenizer of the kind {kind!r} with the pre-tokenizer {pre!r}; made are those "
            f"of the kind {PIECES!r}, and of the kind 'gpt2' with {', '.join(SPLITTINGS)}"
        )
    tokens: Any = facts.get("tokenizer.ggml.tokens")
    types: Any = facts.get("tokenizer.ggml.token_type")
    if not _is_list(tokens, str) or not _is_list(types, int):
        return "has no tokenizer.ggml.tokens and token_type, of which a tokenizer is made"
    if kind != PIECES and not _is_list(facts.get("tokenizer.ggml.merges"), str):
        return "has no tokenizer.ggml.merges, of which a tokenizer is made"
    if len(types) != len(tokens):
        return f"has types of {len(types)} tokens, and {len(tokens)} tokens"
    for name in _SPECIAL:
        id = facts.get(f"tokenizer.ggml.{name}_token_id")
        if id is not None and (type(id) is not int or not 0 <= id < len(tokens)):
            return f"has {len(tokens)} tokens, and {id!r} for tokenizer.ggml.{name}_token_id"
    return check_pieces(facts) if kind == PIECES else None


def make_tokenizer(facts: Mapping[str, Any]) -> Any:
    """Transformers' tokenizer for metadata that ``check_tokenizer`` passed. Raises BrokenFile."""
    from tokenizers import AddedToken
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    is_pieces = facts["tokenizer.ggml.model"] == PIECES
    tokens: Sequence[str] = facts["tokenizer.ggml.tokens"]
    types: Sequence[int] = facts["tokenizer.ggml.token_type"]
    backend = make_backend(facts) if is_pieces else _byte_level(facts)
    typed = list(zip(tokens, types, strict=True))
    special_types = (CONTROL, UNKNOWN) if is_pieces else (CONTROL,)
    name = str(facts.get("general.name", "")).lower()
    backend.add_special_tokens(
        [
            AddedToken(one, normalized=False, special=True, rstrip=_strips(name, one))
            for one, kind in typed
            if kind in special_types
        ]
    )
    backend.add_tokens(
        [
            AddedToken(one, normalized=False, special=False, rstrip=_strips(name, one))
            for one, kind in typed
            if kind == USER_DEFINED and (is_pieces or not ends_within_character(one))
        ]
    )
    # Transformers would keep any other token whole in texts, as "!" where 0 stands for none.
    special = {
        name: tokens[id]
        for short, name in _SPECIAL.items()
        if (id := facts.get(f"tokenizer.ggml.{short}_token_id")) is not None
        and types[id] in (*special_types, USER_DEFINED)
    }
    begins = is_pieces or SPLITTINGS[facts["tokenizer.ggml.pre"]].begins
    if facts.get("tokenizer.ggml.add_bos_token", begins) and "bos_token" in special:
        bos, id = special["bos_token"], facts["tokenizer.ggml.bos_token_id"]
        backend.post_processor = TemplateProcessing(single=[bos, "$A"], special_tokens=[(bos, id)])
    tokenizer: Any = PreTrainedTokenizerFast(tokenizer_object=backend, **special)
    tokenizer.chat_template = _template(facts)
    return tokenizer


def _byte_level(facts: Mapping[str, Any]) -> Any:
    """A ``tokenizers.Tokenizer`` without special tokens. Raises BrokenFile."""
    from tokenizers import Tokenizer
    from tokenizers.decoders import ByteLevel
    from tokenizers.models import BPE

    splitting = SPLITTINGS[facts["tokenizer.ggml.pre"]]
    merges = [tuple(merge.split(" ")) for merge in facts["tokenizer.ggml.merges"]]
    try:
        model = BPE(
            vocab={token: id for id, token in enumerate(facts["tokenizer.ggml.tokens"])},
            merges=merges,  # type: ignore[arg-type]
            ignore_merges=splitting.whole_words,
        )
    except Exception as error:  # the library's errors are plain ones
        raise BrokenFile(f"its merges and tokens do not fit together: {error}") from error
    backend: Any = Tokenizer(model)
    backend.pre_tokenizer = _pre_tokenizer(splitting)
    backend.decoder = ByteLevel()
    return backend


def _strips(model: str, token: str) -> bool:
    """Whether llama.cpp leaves out the spaces behind a token that is marked: it does in models of
    these names."""
    return any(name in model for name in _STRIPPING) and token not in _NOT_STRIPPING


def _pre_tokenizer(splitting: Splitting) -> Any:
    from tokenizers import Regex
    from tokenizers.pre_tokenizers import ByteLevel, Sequence, Split

    cuts: list[Any] = [Split(Regex(pattern), behavior="isolated") for pattern in splitting.patterns]
    return Sequence([*cuts, ByteLevel(add_prefix_space=False, use_regex=False)])


def _template(facts: Mapping[str, Any]) -> str | dict[str, str] | None:
    """The chat template; by name where there are several."""
    own = facts.get("tokenizer.chat_template")
    if not isinstance(own, str):
        return None
    named = {
        key.removeprefix(_NAMED): text
        for key, text in facts.items()
        if key.startswith(_NAMED) and isinstance(text, str)
    }
    return {"default": own, **named} if named else own


def _is_list(value: Any, kind: type) -> bool:
    return isinstance(value, list) and all(type(one) is kind for one in value)
