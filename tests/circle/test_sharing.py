"""Learn twice, bill, sign, find every field that was tampered with, export, and let a second
service take it in, judge it and try it."""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from tests.circle.service import Running, running
from tests.sharing.tiny import make_base
from typer.testing import CliRunner, Result

from liveweights.bom.check import compare, find_fault, read_document
from liveweights.cli import app
from liveweights.weights.signing import make_keys

pytest.importorskip("cyclonedx", reason="pip install 'liveweights[bom]'")
SIGNED = find_spec("model_signing") is not None
"""Whether there is what signs; the rest goes without."""
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

LEARN = {"learning_rate": 2e-2}
SELDOM = {"min_feedback": 10**6, "every": 10**6}


async def call(*words: str) -> str:
    """What a command prints; it has a loop of its own."""
    done: Result = await asyncio.to_thread(CliRunner().invoke, app, list(words))
    assert done.exit_code == 0, done.output
    return done.stdout


async def learn_twice(run: Running) -> list[str]:
    for cycle in range(1, 16):
        await run.until(cycle, "ended")
        if (await run.status()).releases >= 2:
            break
    live = (await run.status()).live
    lineage = json.loads(await call("lineage", str(live), "--json", "--home", str(run.home)))
    return [one["id"] for one in lineage["chain"]]


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where every single value of a document is."""
    items: Any = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    else:
        yield path
    for key, inner in items:
        yield from leaves(inner, (*path, key))


def tamper(document: Any, path: tuple[Any, ...]) -> Any:
    changed = copy.deepcopy(document)
    inner = changed
    for key in path[:-1]:
        inner = inner[key]
    value = inner[path[-1]]
    inner[path[-1]] = f"{value}x" if isinstance(value, str) else 12345
    return changed


def test_what_was_learnt_here_is_taken_in_there(tmp_path: Path) -> None:
    base = make_base(tmp_path / "model")
    public = make_keys(tmp_path / "key")
    signing = {"key": str(tmp_path / "key"), "public_key": str(public)} if SIGNED else {}
    peft, gguf, bill = (str(tmp_path / name) for name in ("peft", "gguf", "bill"))

    async def learn_and_export() -> list[str]:
        async with running(base.folder, learn=LEARN, signing=signing) as run:
            chain = await learn_twice(run)
            assert len(chain) >= 3
            here = ("--home", str(run.home))
            await call("bom", chain[0], "--to", bill, *here)
            told = await call("verify-bom", bill, "--record", *here)
            assert f"valid CycloneDX 1.7{', signed' if SIGNED else ''}, as the record" in told
            # These users all write the same, which is what they want to be learnt.
            free = ("--max-repeated", "1")
            told = await call("export", chain[0], "--to", peft, *free, *here)
            assert (", signed" in told) == SIGNED
            words = ("--as", "gguf", "--precision", "f16")
            await call("export", chain[0], "--to", gguf, *words, *free, *here)
            return chain

    chain = asyncio.run(learn_and_export())
    file = Path(bill) / "bom.cdx.json"
    document = read_document(file.read_bytes())
    assert find_fault(file.read_bytes()) is None
    paths = list(leaves(document))
    assert len(paths) > 100
    for path in paths:
        assert compare(tamper(document, path), document), path
    file.write_bytes(file.read_bytes() + b" ")  # which changes nothing but the bytes
    words = ["--key", str(public)] if SIGNED else []
    done = CliRunner().invoke(app, ["verify-bom", bill, *words])
    assert done.exit_code == (1 if SIGNED else 0), done.output

    async def take_in() -> None:
        async with running(base.folder, cycle=SELDOM) as run:
            here = ("--home", str(run.home))
            async with asyncio.timeout(120):
                while len(run.users.acknowledged) < 60:
                    await asyncio.sleep(0.2)
            words = ("--base", "code", "--licence", "apache-2.0")
            taken = await call("import-checkpoint", peft, *words, *here)
            theirs = next(one for one in taken.splitlines() if "is registered" in one).split()[0]
            reason = ("--reason", "learnt elsewhere")
            await call("canary", "start", theirs, "--gate", *reason, *here)
            await run.until(1, "canary", "ended")
            await run.until(1, "ended")
            (cycle,) = (await run.status()).cycles
            assert cycle.outcome == "promoted", cycle
            async with asyncio.timeout(60):
                while theirs not in run.users.answered.values():
                    await asyncio.sleep(0.1)
            assert not run.users.failures

    asyncio.run(take_in())
    assert chain[-1] == base.id
