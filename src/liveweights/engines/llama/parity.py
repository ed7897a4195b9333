"""Whether our tokenizer makes of text what llama.cpp makes of it by a GGUF's own metadata."""

from __future__ import annotations

import inspect
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from liveweights.engines.llama.process import LlamaProcess
from liveweights.engines.protocol import EngineError
from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.staging import write_whole

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

CODE_LINES = 300
_VARIED = (
    "The quick brown fox jumps over the lazy dog.",
    "It's we'll THEY'RE I'D can't",
    "don’t “quote”",
    "1234567890 3.14159 1,000,000 0x7fff 1e-9",
    "٣٤٥ ½ ² ⅷ",
    "naïve façade Ærøskøbing straße",
    "😀 👩‍👩‍👧‍👦 🇩🇪 👍🏽",
    "שלום עולם",
    "مرحبا بالعالم",
    "你好，世界。",
    "こんにちは、世界",
    "안녕하세요",
    "नमस्ते दुनिया",
    "Привет, мир!",
    " leading",
    "trailing ",
    "two  spaces   three",
    "\ttab\t\ttabs",
    "a\nb\n\nc\r\n\r\nd",
    "\n \n  \n",
    "   ",
    " ",
    "\u00a0nbsp\u2003em",
    "<s> </s> <unk> [INST] <|nothing|>",
    "<|im_start|>user\nhi<|im_end|>",
    "<|endoftext|>",
    "foo<|im_end|>bar",
    "<|im_start",
    "{{ x }} {% if %} ${HOME} `ls`",
    "->=><=!==++&&||",
    "a.b.c::d->e[0](1)",
    "https://example.org/a?b=c&d=%20#e",
    "snake_case camelCase SCREAMING",
)


def lines() -> list[str]:
    """A few hundred: scripts, spaces, what looks special, and code that every Python has."""
    code = inspect.getsource(textwrap) + inspect.getsource(inspect)
    return [*_VARIED, *[line for line in code.splitlines(keepends=True) if line.strip()]][
        : CODE_LINES + len(_VARIED)
    ]


async def check_parity(
    child: LlamaProcess, base: Checkpoint, tokenizer: PreTrainedTokenizerBase, cache: Path
) -> None:
    """Raise EngineError with a line and both sides' ids where they differ; what passed once is
    kept in ``cache``."""
    kept = cache / "parity" / base.id
    if kept.exists():
        return
    for line in lines():
        ours: list[int] = cast(Any, tokenizer).encode(line, add_special_tokens=False)
        body = {"content": line, "add_special": False, "parse_special": True}
        async with child.request("POST", "/tokenize", body) as response:
            response.raise_for_status()
            theirs: list[int] = (await response.json())["tokens"]
        if ours != theirs:
            raise EngineError(
                f"{base.id} is not served: of {line!r} the tokenizer made from its metadata makes "
                f"{ours}, llama.cpp makes {theirs}"
            )
    write_whole(kept, b"")
