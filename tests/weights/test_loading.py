"""Models are made one at a time."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from tests.learn.families import make_family

import liveweights
from liveweights.weights.loading import load_causal

SOURCE = Path(liveweights.__file__).parent
MAKES = {"from_pretrained", "from_config", "get_peft_model", "load_adapter"}
"""What makes a model or adds an adapter to one; tokenizers and configs are no models."""


def calls_outside(tree: ast.AST, held: bool = False) -> Iterator[ast.Call]:
    """Calls that make a model while the lock is not held around them."""
    for node in ast.iter_child_nodes(tree):
        inside = held
        if isinstance(node, ast.With):
            inside |= any(ast.unparse(item.context_expr) == "LOADING" for item in node.items)
        if isinstance(node, ast.Call) and not held:
            receiver, _, name = ast.unparse(node.func).rpartition(".")
            other = receiver.lower().endswith(("tokenizer", "tokenizers", "config"))
            # Our own ``load_adapter`` takes the lock itself.
            if name in MAKES and not other and (receiver or name != "load_adapter"):
                yield node
        yield from calls_outside(node, inside)


def test_what_makes_a_model_holds_the_lock() -> None:
    found = [
        f"{file.relative_to(SOURCE)}:{call.lineno} {ast.unparse(call.func)}"
        for file in sorted(SOURCE.rglob("*.py"))
        for call in calls_outside(ast.parse(file.read_text()))
    ]
    assert found == []


def test_a_call_beside_the_lock_is_found() -> None:
    source = "with LOADING:\n    load(x)\nmodel = PeftModel.from_pretrained(model, folder)\n"
    assert [call.lineno for call in calls_outside(ast.parse(source))] == [3]


@pytest.fixture
def hasty() -> Iterator[None]:
    """Threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("hasty")
def test_models_that_are_read_at_the_same_time_leave_nothing_behind(tmp_path: Path) -> None:
    folder = make_family("qwen3", tmp_path / "tiny")
    alone = load_causal(folder).state_dict()
    functions = vars(torch.nn.init).copy()
    with ThreadPoolExecutor(6) as pool:
        for model in pool.map(load_causal, [folder] * 200):
            weights = model.state_dict()
            assert all(torch.equal(weights[name], alone[name]) for name in alone)
    assert vars(torch.nn.init) == functions
