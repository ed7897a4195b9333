"""Nothing that reads a model runs code that came with it, or asks whether it may."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
READERS = {"AutoConfig", "AutoTokenizer", "AutoModelForCausalLM", "AutoModel", "AutoProcessor"}


def reads(tree: ast.AST) -> Iterator[ast.Call]:
    """Calls of ``Auto....from_pretrained`` and ``from_config``, cast or not."""
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        named = {n.id for n in ast.walk(node.func.value) if isinstance(n, ast.Name)}
        if node.func.attr in ("from_pretrained", "from_config") and named & READERS:
            yield node


def forbids(call: ast.Call) -> bool:
    return any(
        word.arg == "trust_remote_code"
        and isinstance(word.value, ast.Constant)
        and word.value.value is False
        for word in call.keywords
    )


def test_every_read_says_so() -> None:
    calls = 0
    for file in (*(ROOT / "src").rglob("*.py"), *(ROOT / "bench").rglob("*.py")):
        for call in reads(ast.parse(file.read_text(encoding="utf-8"))):
            calls += 1
            assert forbids(call), f"{file.relative_to(ROOT)}:{call.lineno}"
    assert calls >= 10


def test_one_that_does_not_is_seen() -> None:
    (call,) = reads(ast.parse("cast(Any, AutoTokenizer).from_pretrained(folder, **source)"))
    assert not forbids(call)
    (call,) = reads(ast.parse("AutoConfig.from_pretrained(folder, trust_remote_code=True)"))
    assert not forbids(call)
