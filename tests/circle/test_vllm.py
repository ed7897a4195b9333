"""A release on a real vLLM under traffic; `make test-vllm` installs one and says where it is."""

from __future__ import annotations

import asyncio

import pytest
from tests.circle.service import running
from tests.engines.vllm.test_real import PYTHON
from tests.engines.vllm.test_real import pytestmark as pytestmark

VLLM = {"python": PYTHON, "adapters": 3, "kv_cache_gib": 1}


async def release_once() -> None:
    async with running(engine={"kind": "vllm", "dtype": "float32"}, vllm=VLLM) as run:
        run.users.rate = 1.0
        for cycle in range(1, 6):
            await run.until(cycle, "ended", seconds=900)
            if (await run.status()).releases:
                break
        status = await run.status()
        assert status.releases, f"no release in five cycles: {status.cycles}"
        base = run.users.answered[next(iter(run.users.answered))]
        assert status.live != base
        generation = await run.users.turn("last", "last-0", 0)
        assert run.users.answered[generation] == status.live
        assert not run.users.failures


@pytest.mark.timeout(3600)
def test_the_circle_turns_on_vllm() -> None:
    asyncio.run(release_once())
