"""Whether our tokenizer makes of text what llama.cpp makes of it by a GGUF's own metadata."""

from __future__ import annotations

import asyncio
import inspect
import tempfile
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from liveweights.engines.llama.host import Host
from liveweights.engines.llama.process import LlamaProcess
from liveweights.engines.protocol import EngineError
from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.gguf_header import read_header
from liveweights.weights.gguf_vocabulary import write_vocabulary

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


async def check_parity(base: Checkpoint, file: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    """Raise EngineError with a line and both sides' ids where they differ; ``file`` is the GGUF
    that ``base`` stands for."""
    facts = (await asyncio.to_thread(read_header, file)).metadata
    differing = await compare_ids(base.id, facts, cast(Any, tokenizer), lines())
    if differing:
        line, ours, theirs = differing[0]
        raise EngineError(
            f"{base.id} is not served: of {line!r} the tokenizer made from its metadata makes "
            f"{ours}, llama.cpp makes {theirs}"
        )


async def compare_ids(
    name: str, facts: Mapping[str, Any], tokenizer: Any, texts: Sequence[str]
) -> list[tuple[str, list[int], list[int]]]:
    """The texts of which ``tokenizer``, and llama.cpp with the tokenizer of a GGUF's metadata
    ``facts``, make different ids: (text, ours, theirs).

    Asked without the weights, and so without the copy for serving, in which tokens have other types
    (see ``weights.gguf_served``). Raises EngineError where llama.cpp does not load it.
    """
    differing: list[tuple[str, list[int], list[int]]] = []
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "vocabulary.gguf"
        await asyncio.to_thread(write_vocabulary, file, facts)
        process = LlamaProcess(f"{name}'s tokenizer", _host(file))
        await process.start()
        try:
            for text in texts:
                ours: list[int] = tokenizer.encode(text, add_special_tokens=False)
                body = {"content": text, "add_special": False, "parse_special": True}
                async with process.request("POST", "/tokenize", body) as response:
                    response.raise_for_status()
                    theirs: list[int] = (await response.json())["tokens"]
                if ours != theirs:
                    differing.append((text, ours, theirs))
        finally:
            await process.stop()
    return differing


def _host(file: Path) -> Host:
    return Host(
        gguf=str(file), adapter=None, api_key="", context_length=64, slots=1, threads=1, cache_mib=0
    )
