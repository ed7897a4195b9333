"""The circle on a GGUF file: served as it is, learnt on as it is, released."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.circle.service import rows, running
from tests.weights.gguf_files import write_gguf

pytestmark = [pytest.mark.fault, pytest.mark.slow, pytest.mark.timeout(600)]


def test_a_gguf_file_learns_and_its_checkpoint_answers(tmp_path: Path) -> None:
    first = write_gguf(tmp_path / "tiny.gguf", kind="q8_0", parts=2)
    learn = {"learning_rate": 2e-2}

    async def go() -> None:
        async with running(first, learn=learn) as run:
            for cycle in range(1, 5):
                await run.until(cycle, "ended")
                if (await run.status()).releases:
                    break
            status = await run.status()
            assert status.releases, status.cycles
            assert (status.live or "").startswith("tiny@")
            async with asyncio.timeout(60):
                while status.live not in run.users.answered.values():
                    await asyncio.sleep(0.1)
            assert len(set(run.users.answered.values())) >= 2
            assert not run.users.failures
            [(kind, probe)] = rows(
                run,
                "select c.kind, d.probe from checkpoints c join deployments d"
                " on d.checkpoint = c.id where c.id = %s limit 1",
                status.live,
            )
            assert kind == "adapter"
            assert probe["ok"]
            assert probe["acting"] > 0.9

    asyncio.run(go())
