"""What was learnt leaves with its papers, computes the same elsewhere, and is taken in by another
service as a candidate like any other."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import torch
from tests.bom.test_document import leaves
from tests.circle.service import Running, rows, running
from tests.sharing.test_forms import ask_llama
from tests.sharing.tiny import make_base, read_logprobs

from liveweights.bom.check import compare, find_fault, read_document
from liveweights.weights.signing import Tampered, check_folder, make_keys

pytestmark = [
    pytest.mark.fault,
    pytest.mark.slow,
    pytest.mark.timeout(2400),
]
TOLERANCE = 2e-2
"""Nats by which engines may differ in float32."""
PROMPTS = ("def area(width, height):\n    return", "for name in names:\n    print(", "import os\n")
SMALL: dict[str, Any] = {
    "engine": {"kind": "torch", "context_length": 128},
    "learn": {"learning_rate": 2e-2, "threads": 1, "dtype": "float32"},
}
"""For a tiny model, which learns within seconds."""
BILL = "bom.cdx.json"


async def command(run: Running, *words: str, code: int = 0) -> str:
    done = await asyncio.to_thread(
        subprocess.run, run.service.command(*words), capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stderr + done.stdout
    return done.stdout if code == 0 else done.stderr


async def ask_service(run: Running, checkpoint: str, ids: list[int]) -> dict[str, float]:
    """Log-probabilities of the likeliest tokens by their text, as the service tells its users."""
    body = {"model": checkpoint, "prompt": ids, "max_tokens": 1, "temperature": 0, "logprobs": 5}
    async with (
        aiohttp.ClientSession() as http,
        http.post(f"{run.service.url}/v1/completions", json=body) as answer,
    ):
        told = await answer.json()
        assert answer.status == 200, told
    return told["choices"][0]["logprobs"]["top_logprobs"][0]


async def check_papers(run: Running, learnt: str, folder: Path, public: Path) -> None:
    """The bill is valid, the same again, signed, as the record has it, and proves what was read."""
    bill = folder / "bill"
    for place in (bill, folder / "again"):
        await command(run, "bom", learnt, "--to", str(place))
    content = (bill / BILL).read_bytes()
    assert (folder / "again" / BILL).read_bytes() == content
    assert find_fault(content) is None
    told = await command(run, "verify-bom", str(bill), "--record")
    assert "valid CycloneDX 1.7, signed, as the record has it" in told
    ((reaction, tenant),) = rows(
        run,
        "select f.id, f.tenant from feedback f join cycle_rows r on r.feedback = f.seq"
        " join cycles c on c.id = r.cycle where c.candidate = %s order by f.seq limit 1",
        learnt,
    )
    proof = folder / "proof.json"
    proof.write_text(await command(run, "bom", learnt, "--prove", reaction, "--tenant", tenant))
    told = await command(run, "verify-bom", str(bill), "--proof", str(proof))
    assert "the reaction was read" in told

    made = read_document(content)
    places = leaves(made)
    assert len(places) > 200
    for place in places:
        given = read_document(content)
        inner: Any = given
        for step in place[:-1]:
            inner = inner[step]
        inner[place[-1]] = "changed"
        assert "'changed'" in "".join(compare(given, made))
        (bill / BILL).write_text(json.dumps(given, indent=2, sort_keys=True) + "\n")
        with pytest.raises(Tampered):
            check_folder(bill, public)
    said = await command(run, "verify-bom", str(bill), code=1)
    assert BILL in said
    (bill / BILL).write_bytes(content)
    await command(run, "verify-bom", str(bill), "--record")
    lacking = json.loads(await command(run, "bom", learnt, "--elements", "--json"))
    assert len(lacking) > 40
    assert all(one["there"] or one["lacking"] or one["advice"] for one in lacking)


async def export(run: Running, learnt: str, folder: Path) -> None:
    for form, words in (("peft", ()), ("gguf", ("--precision", "f32")), ("gguf-adapter", ())):
        place = ("--to", str(folder / form), "--texts", "64", "--json")
        told = json.loads(await command(run, "export", learnt, "--as", form, *words, *place))
        assert told["signed"]
        assert told["private_data"]["repeated"] == []
        assert {BILL, "README.md", "model.sig"} <= {one.name for one in (folder / form).iterdir()}


def compute_elsewhere(folder: Path, base: Path, ids: Sequence[list[int]]) -> list[torch.Tensor]:
    """The log-probabilities of every next token (V,), by plain Transformers with PEFT, with which
    plain llama.cpp agrees."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    plain: Any = AutoModelForCausalLM.from_pretrained(
        base, dtype=torch.float32, trust_remote_code=False
    )
    model: Any = PeftModel.from_pretrained(plain, str(folder / "peft"))
    theirs = [read_logprobs(model, one)[-1] for one in ids]
    (file,) = (folder / "gguf").glob("*.gguf")
    for one, logprobs_V in zip(ids, theirs, strict=True):
        by_llama = ask_llama(file, None, one)
        assert len(by_llama) > 20
        apart = [abs(float(logprobs_V[id]) - value) for id, value in by_llama.items()]
        assert sum(apart) / len(apart) < TOLERANCE
    return theirs


async def learn_twice(run: Running) -> str:
    """Learn until two candidates were promoted, and no more; what is served from then on."""
    async with asyncio.timeout(1200):
        while (await run.status()).releases < 2:
            await asyncio.sleep(0.5)
        await command(run, "cycle", "--pause", "what is served is shared")
        if (await run.status()).cycle is not None:
            await command(run, "cycle", "--cancel", "what is served is shared")
        while (status := await run.status()).cycle is not None:
            await asyncio.sleep(0.5)
    assert status.live is not None
    return status.live


async def learn_and_share(model: Path, folder: Path, private: Path, public: Path) -> str:
    keys = {"key": str(private), "public_key": str(public)}
    async with running(model, signing=keys, **SMALL) as run:
        learnt = await learn_twice(run)
        ((base,),) = rows(
            run,
            "select b.folder from checkpoints c join checkpoints b on b.id = c.base"
            " where c.id = %s",
            learnt,
        )
        await check_papers(run, learnt, folder, public)
        await export(run, learnt, folder)
        from transformers import AutoTokenizer

        tokenizer: Any = AutoTokenizer.from_pretrained(base, trust_remote_code=False)
        ids = [tokenizer.encode(one) for one in PROMPTS]
        theirs = await asyncio.to_thread(compute_elsewhere, folder, Path(base), ids)
        for one, logprobs_V in zip(ids, theirs, strict=True):
            likely = logprobs_V.topk(64).indices.tolist()
            told = {tokenizer.decode([id]): float(logprobs_V[id]) for id in reversed(likely)}
            ours = await ask_service(run, learnt, one)
            # What is no whole character has no text of its own.
            apart = [abs(ours[text] - told[text]) for text in ours if text in told and text != "�"]
            assert apart
            assert max(apart) < TOLERANCE
        assert not run.users.failures
        return learnt


async def take_in(model: Path, folder: Path, learnt: str) -> None:
    async with running(model, cycle={"min_feedback": 100_000}, **SMALL) as run:
        async with asyncio.timeout(300):
            while len(run.users.acknowledged) < 60:
                await asyncio.sleep(0.2)
        told = await command(
            run, "import-checkpoint", str(folder / "peft"), "--base", "code", "--licence", "MIT"
        )
        taken = next(line.split()[0] for line in told.splitlines() if "is registered" in line)
        assert taken.partition("@")[0] == learnt.partition("@")[0]
        await command(
            run, "canary", "start", taken, "--gate", "--reason", "theirs learnt the same",
        )  # fmt: skip
        cycle = await run.next_cycle(0)
        await run.until(cycle, "ended", seconds=600)
        status = await run.status()
        assert status.cycles[0].outcome == "promoted", status.cycles[0].reason
        assert status.cycles[0].verdict is not None
        assert status.cycles[0].verdict["outcome"] == "PASS"
        assert status.live == taken
        chain = json.loads(await command(run, "lineage", taken, "--json"))["chain"]
        assert [one["id"] for one in chain] == [taken, chain[-1]["id"]]
        assert not run.users.failures


def test_what_was_learnt_is_shared_with_its_papers_and_taken_in_elsewhere(tmp_path: Path) -> None:
    pytest.importorskip("cyclonedx", reason="pip install 'liveweights[bom]'")
    pytest.importorskip("model_signing", reason="pip install 'liveweights[signing]'")
    private = tmp_path / "key.pem"
    public = make_keys(private)
    shared = tmp_path / "shared"
    shared.mkdir()
    model = make_base(tmp_path).folder
    learnt = asyncio.run(learn_and_share(model, shared, private, public))
    for form in ("gguf", "gguf-adapter"):
        shutil.rmtree(shared / form)
    asyncio.run(take_in(model, shared, learnt))
