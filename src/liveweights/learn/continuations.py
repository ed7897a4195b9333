"""Token ids of text that goes on where other text stands already."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

_PREFIXING: dict[str, dict[str, Any]] = {
    "Metaspace": {"prepend_scheme": "never"},
    "ByteLevel": {"add_prefix_space": False},
}
"""Parts of tokenizers that may put a space before any text, and how they do not."""


def continue_text(tokenizer: Any) -> Callable[[str], list[int]]:
    """What encodes text as it stands behind other text, and reads no special tokens in it.

    Tokenizers as SentencePiece's take any text for the beginning of one, and put a space before it
    that nobody wrote.
    """
    backend: Any = getattr(tokenizer, "backend_tokenizer", None)
    parts = [getattr(backend, name, None) for name in ("normalizer", "pre_tokenizer")]
    told = [json.loads(part.__getstate__()) if part is not None else None for part in parts]
    plain = [_without_prefix(part) for part in told]
    if plain == told:

        def encode(text: str) -> list[int]:
            # What a user wrote is text, also where it looks like a special token.
            ids = tokenizer(text, add_special_tokens=False, split_special_tokens=True).input_ids
            return list(ids)

        return encode

    from tokenizers import Tokenizer

    whole = json.loads(backend.to_str())
    whole |= {"normalizer": plain[0], "pre_tokenizer": plain[1], "truncation": None}
    behind: Any = Tokenizer.from_str(json.dumps(whole | {"padding": None}))
    behind.encode_special_tokens = True
    return lambda text: list(behind.encode(text, add_special_tokens=False).ids)


def _without_prefix(part: Any) -> Any:
    """A normaliser or pre-tokenizer, as in ``tokenizer.json``, that adds nothing in front."""
    if part is None or part["type"] == "Prepend":
        return None
    for name in ("normalizers", "pretokenizers"):
        if name in part:
            kept = [_without_prefix(one) for one in part[name]]
            return part | {name: [one for one in kept if one is not None]}
    return part | _PREFIXING.get(part["type"], {})
