"""A running service that holds the packaged model and, as a candidate, itself with noise."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import psycopg

from liveweights.release import deployments
from liveweights.replay.client import Client
from liveweights.replay.service import Service, free_port, write_config
from liveweights.store.embedded import EmbeddedPostgres
from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.registry import Registry, register

SCALE = 0.02
CONFIG = {"engine": {"slots": 2, "context_length": 1536}, "cycle": {"every": 1e9}}


@asynccontextmanager
async def serve_with_noise(
    folder: Path, scale: float = SCALE
) -> AsyncGenerator[tuple[str, str, str]]:
    """URL of the API, id of the base, and of the noisy candidate, both loaded."""
    os.chmod(folder, 0o711)  # the database may run as another user
    home, config = folder / "home", folder / "config.toml"
    write_config(config, CONFIG)
    service = Service(home, config, free_port(), folder / "service.log")
    try:
        async with Client(service.url) as client:
            await service.wait(client, 600)
            base = (await client.status()).live
            assert base is not None
            server = EmbeddedPostgres(home / "postgres")
            dsn = await asyncio.to_thread(server.start)  # joins the one that runs
            async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as conn:
                cursor = await conn.execute("select folder from checkpoints where id = %s", (base,))
                row = await cursor.fetchone()
                assert row is not None
                staging = folder / "noise"
                await asyncio.to_thread(_write_noise, Path(row[0]), staging, scale)
                candidate = Registry(home / "checkpoints").store(
                    staging,
                    base.partition("@")[0],
                    kind="adapter",
                    base=base,
                    parent=base,
                    card={"origin": "noise"},
                )
                await register(conn, candidate)
                await _load(conn, candidate)
            yield service.url, base, candidate.id
    finally:
        await asyncio.to_thread(service.stop)


async def _load(conn: psycopg.AsyncConnection, candidate: Checkpoint) -> None:
    await deployments.keep_warm(conn, candidate.id, 3600)
    async with asyncio.timeout(600):
        while not (ready := await deployments.ready(conn, candidate.id)).everywhere:
            if ready.failed:
                raise RuntimeError(f"{candidate.id} cannot be served: {ready.failed}")
            await asyncio.sleep(0.5)


def _write_noise(base: Path, folder: Path, scale: float) -> None:
    """A LoRA adapter whose product is noise, and probes by which the engine can tell it."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.set_num_threads(1)
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(base, trust_remote_code=False)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32, trust_remote_code=False)
    config = LoraConfig(r=8, lora_alpha=16, target_modules=["q_proj", "v_proj", "up_proj"])
    noisy = get_peft_model(model, config).eval()
    text = Path(__file__).read_text()
    probes: list[dict[str, object]] = []
    with torch.no_grad():
        for name, weight in noisy.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=scale)
        for end in range(300, 2100, 150):
            ids = tokenizer(text[end - 200 : end], add_special_tokens=False)["input_ids"]
            ours_V = noisy(torch.tensor([ids])).logits[0, -1].log_softmax(-1)
            with noisy.disable_adapter():
                base_V = noisy(torch.tensor([ids])).logits[0, -1].log_softmax(-1)
            top = ours_V.topk(16).indices.tolist()
            row = [[k, ours_V[k].item(), base_V[k].item()] for k in top]
            probes.append({"prompt_ids": ids, "top": row})
    noisy.save_pretrained(str(folder))
    (folder / "probes.json").write_text(json.dumps({"probes": probes}))
