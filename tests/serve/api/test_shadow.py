from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

from liveweights.engines.protocol import EngineError, Sampling, Token
from liveweights.record.shadow_answer import ShadowAnswer
from liveweights.serve.api.app import create_app
from liveweights.serve.api.shadow import MOST_WAITING, Shadow
from liveweights.serve.models import Models, make_model
from liveweights.serve.router import Router

from .doubles import BASE, NEXT, Api, MemoryRecorder, ScriptedEngine, make_tokenizer

REQUEST = {"model": "tiny", "prompt": "say:", "max_tokens": 50, "stop": ["!"], "seed": 3}


class TwoCheckpoints(ScriptedEngine):
    """The canary fails or waits when it is told to; the live one never does."""

    def __init__(self) -> None:
        super().__init__(make_tokenizer(), "hello!")
        self._resident.add(NEXT)
        self.broken = False
        self.free = asyncio.Event()
        self.free.set()

    async def generate(
        self, checkpoint_id: str, prompt_ids: Sequence[int], sampling: Sampling
    ) -> AsyncIterator[Token]:
        if checkpoint_id == NEXT:
            await self.free.wait()
            if self.broken:
                raise EngineError("broken by script")
        async for token in super().generate(checkpoint_id, prompt_ids, sampling):
            yield token


Test = Callable[[Api, TwoCheckpoints, list[ShadowAnswer]], Awaitable[None]]


def shadowed(test: Test) -> None:
    async def go() -> None:
        kept: list[ShadowAnswer] = []

        async def keep(answer: ShadowAnswer) -> None:
            kept.append(answer)

        engine, recorder, router = TwoCheckpoints(), MemoryRecorder(), Router()
        router.set("tiny", BASE, NEXT, 0.0, 1.0)
        models = Models(make_model(engine, router, engine.tokenizer))
        async with Shadow(models, keep) as shadow:
            app = create_app(models, recorder, shadow=shadow)
            await test(Api(engine, recorder, router, app), engine, kept)

    asyncio.run(go())


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.001)


def test_the_user_gets_the_live_answer_and_the_canarys_is_kept_beside_it() -> None:
    async def test(api: Api, engine: TwoCheckpoints, kept: list[ShadowAnswer]) -> None:
        answer = await api.acall("POST", "/v1/completions", REQUEST)
        assert answer.json()["checkpoint"] == BASE
        await until(lambda: bool(kept))
        (shadow,) = kept
        generation = api.recorder.only()
        assert generation.checkpoint == BASE
        assert (shadow.generation, shadow.checkpoint) == (generation.id, NEXT)
        # Sampled as the request was: it stops where the user's answer stopped.
        assert (shadow.output, shadow.finish_reason) == ("hello", "stop")
        assert shadow.total_ms > 0
        assert api.router.in_use(NEXT) == 0

    shadowed(test)


def test_without_consent_or_without_luck_nothing_is_asked() -> None:
    async def test(api: Api, engine: TwoCheckpoints, kept: list[ShadowAnswer]) -> None:
        await api.acall("POST", "/v1/completions", REQUEST, x_training_consent="no")
        api.router.set("tiny", BASE, NEXT, 0.0, 0.0)
        await api.acall("POST", "/v1/completions", REQUEST)
        await api.acall("POST", "/v1/completions", REQUEST | {"model": NEXT})
        await asyncio.sleep(0.05)
        assert not kept

    shadowed(test)


def test_a_canary_that_fails_in_the_shadow_fails_nobody() -> None:
    async def test(api: Api, engine: TwoCheckpoints, kept: list[ShadowAnswer]) -> None:
        engine.broken = True
        assert (await api.acall("POST", "/v1/completions", REQUEST)).status == 200
        await until(lambda: bool(kept))
        assert kept[0].finish_reason == "error"

    shadowed(test)


def test_a_slow_shadow_delays_nobody_and_never_lags_far_behind() -> None:
    async def test(api: Api, engine: TwoCheckpoints, kept: list[ShadowAnswer]) -> None:
        engine.free.clear()
        for _ in range(3 * MOST_WAITING):
            assert (await api.acall("POST", "/v1/completions", REQUEST)).status == 200
        assert not kept
        engine.free.set()
        await until(lambda: len(kept) >= MOST_WAITING)
        await asyncio.sleep(0.05)
        assert len(kept) <= MOST_WAITING + 1

    shadowed(test)
