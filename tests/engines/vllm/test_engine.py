"""The vLLM engine's servers: who answers, who is out, and with which adapters they come back."""

from __future__ import annotations

import asyncio
import base64
import json
import math
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.serve.api.doubles import make_tokenizer

from liveweights.engines.protocol import (
    EngineError,
    InvalidConstraint,
    Sampling,
    Token,
    UnknownCheckpoint,
)
from liveweights.engines.settings import EngineSettings, VllmSettings
from liveweights.engines.vllm.engine import VllmEngine
from liveweights.engines.vllm.wire import read_event
from liveweights.weights.checkpoint import Checkpoint

from .stub import VllmStub, encode, routed

BASE = Checkpoint("tiny@000000000000", "base", Path("/base"))


def adapter(number: int) -> Checkpoint:
    id = f"tiny@{number:012d}"
    return Checkpoint(id, "adapter", Path(f"/adapters/{number}"), base=BASE.id, parent=BASE.id)


@asynccontextmanager
async def fleet(
    *stubs: VllmStub, length: int = 512, base: Checkpoint = BASE
) -> AsyncIterator[VllmEngine]:
    for stub in stubs:
        await stub.start()
    settings = EngineSettings(kind="vllm", context_length=length)
    vllm = VllmSettings(servers=[f"{stub.url}/v1" for stub in stubs])
    engine = VllmEngine(base, settings, vllm, make_tokenizer())
    try:
        async with asyncio.timeout(60):
            yield engine
    finally:
        await engine.close()
        for stub in stubs:
            await stub.stop()


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.01)


async def answer(engine: VllmEngine, id: str, **how: Any) -> list[Token]:
    sampling = Sampling(**{"max_tokens": 4, "seed": 3, **how})
    return [token async for token in engine.generate(id, [2, 9], sampling)]


def play(*stubs: VllmStub, act: Callable[[VllmEngine], Awaitable[None]], **how: Any) -> None:
    async def run() -> None:
        async with fleet(*stubs, **how) as engine:
            await act(engine)

    asyncio.run(run())


def test_an_adapter_is_loaded_everywhere_once_and_unloaded_everywhere() -> None:
    one, two = VllmStub(), VllmStub()

    async def act(engine: VllmEngine) -> None:
        await engine.load(BASE)
        await until(lambda: all(replica.ready for replica in engine.replicas))
        await asyncio.gather(engine.load(adapter(1), BASE), engine.load(adapter(1), BASE))
        assert engine.resident() == {BASE.id, adapter(1).id}
        for stub in (one, two):
            assert stub.adapters == {adapter(1).id: "/adapters/1"}
            assert stub.loads == [adapter(1).id]
        await engine.unload(adapter(1).id)
        assert not one.adapters
        assert not two.adapters
        with pytest.raises(UnknownCheckpoint):
            await answer(engine, adapter(1).id)

    play(one, two, act=act)


def test_what_is_asked_and_what_comes_back() -> None:
    stub = VllmStub()

    async def act(engine: VllmEngine) -> None:
        await engine.load(BASE)
        tokens = await answer(engine, BASE.id, temperature=0.5, top_k=2, top_logprobs=1)
        assert [token.id for token in tokens] == [10, 11, 12, 13]
        expected = -math.log(1 + math.exp((-0.9 - -0.5) / 0.5))
        assert tokens[0].logprob == pytest.approx(expected)
        assert tokens[0].raw_logprob == -0.5
        assert tokens[0].top == ((10, -0.5),)
        assert [token.stop for token in tokens] == [None, None, None, "length"]

    play(stub, act=act)
    [asked] = stub.asked
    assert (asked["model"], asked["token_ids"]) == ("served", [2, 9])
    how = asked["sampling_params"]
    assert (how["temperature"], how["top_k"], how["logprobs"], how["seed"]) == (0.5, 2, 2, 3)


@pytest.mark.parametrize("min_p", [0.4, 0.5])
def test_min_p_is_part_of_what_is_drawn_from(min_p: float) -> None:
    """The second candidate is 0.45 times as likely as the first, after temperature."""
    stub = VllmStub()

    async def act(engine: VllmEngine) -> None:
        await engine.load(BASE)
        tokens = await answer(engine, BASE.id, temperature=0.5, top_k=2, min_p=min_p)
        alone = min_p > math.exp((-0.9 - -0.5) / 0.5)
        expected = 0.0 if alone else -math.log(1 + math.exp((-0.9 - -0.5) / 0.5))
        assert tokens[0].logprob == pytest.approx(expected)
        assert tokens[0].raw_logprob == -0.5

    play(stub, act=act)
    assert stub.asked[0]["sampling_params"]["min_p"] == min_p


@pytest.mark.parametrize(
    "how", [{"frequency_penalty": 0.5}, {"presence_penalty": 0.5}, {"repetition_penalty": 1.1}]
)
def test_penalties_are_refused(how: dict[str, float]) -> None:
    """Where they are not left out before: how likely a token was could not be told."""
    stub = VllmStub()

    async def act(engine: VllmEngine) -> None:
        await engine.load(BASE)
        with pytest.raises(InvalidConstraint, match=f"takes no {next(iter(how))}"):
            await answer(engine, BASE.id, **how)

    play(stub, act=act)
    assert not stub.asked


def make_mixture(folder: Path) -> Checkpoint:
    (folder / "config.json").write_text('{"num_local_experts": 8}')
    return Checkpoint(BASE.id, "base", folder)


def test_the_experts_of_a_mixture_come_with_the_last_token(tmp_path: Path) -> None:
    stub, mixture = VllmStub(experts=True), make_mixture(tmp_path)

    async def act(engine: VllmEngine) -> None:
        await engine.load(mixture)
        tokens = await answer(engine, mixture.id)
        assert [token.experts for token in tokens[:-1]] == [None] * 3
        experts = tokens[-1].experts
        assert experts is not None
        assert experts.first == 1
        assert np.array_equal(experts.chosen, routed([9, 10, 11, 12]))

    play(stub, act=act, base=mixture)
    assert stub.asked[0]["sampling_params"]["routed_experts_prompt_start"] == 1


@pytest.mark.parametrize(
    "stub",
    [VllmStub(), VllmStub(experts=True, missing=1), VllmStub(experts=True, break_after=2)],
    ids=["not started for it", "not whole", "not alone"],
)
def test_experts_that_are_not_those_that_served_are_not_kept(
    stub: VllmStub, tmp_path: Path
) -> None:
    mixture = make_mixture(tmp_path)

    async def act(engine: VllmEngine) -> None:
        await engine.load(mixture)
        tokens = await answer(engine, mixture.id)
        assert len(tokens) == 4
        assert [token.experts for token in tokens] == [None] * 4

    play(stub, act=act, base=mixture)


def test_a_dense_model_is_not_asked_for_experts() -> None:
    stub = VllmStub()

    async def act(engine: VllmEngine) -> None:
        await engine.load(BASE)
        await answer(engine, BASE.id)

    play(stub, act=act)
    assert "routed_experts_prompt_start" not in stub.asked[0]["sampling_params"]


def test_the_experts_of_a_long_answer_come_in_a_line_of_megabytes(tmp_path: Path) -> None:
    stub = VllmStub(experts=True, layers=1 << 19)

    async def act(engine: VllmEngine) -> None:
        await engine.load(mixture)
        tokens = await answer(engine, mixture.id)
        assert [token.stop for token in tokens] == [None, None, None, "length"]
        assert tokens[-1].experts is not None
        assert tokens[-1].experts.chosen.shape == (4, 1 << 19, 2)

    mixture = make_mixture(tmp_path)
    play(stub, act=act, base=mixture)
    assert len(stub.asked) == 1


HEADER = b"\x93NUMPY\x01\x00F\x00{'descr': '|u1', 'fortran_order': False, 'shape': (%s), }"


@pytest.mark.parametrize(
    "routed",
    [
        *("nonsense", base64.b64encode(b"PK\x03\x04").decode()),
        encode(np.zeros((2, 2), np.uint8)),
        encode(np.full((1, 2, 2), 2**15, np.uint16)),
        encode(np.zeros((9, 9, 9), np.uint8))[:200],
        base64.b64encode((HEADER % b"1, 1, 9" + b"9" * 16).ljust(79) + b"\n").decode(),
    ],
)
def test_experts_that_are_not_understood_are_an_error(routed: str) -> None:
    scored = {"token_id": 4, "logprob": -0.5}
    choice = {"logprobs": {"content": [scored]}, "routed_experts": routed}
    event = read_event(b"data: " + json.dumps({"choices": [choice]}).encode())
    assert event is not None
    with pytest.raises(EngineError, match="routed_experts"):
        event.steps(0)


# A vLLM that dies of the option, as one without Model Runner V2 does, and else is the stub.
SERVER = """
import asyncio, sys
if "--enable-return-routed-experts" in sys.argv:
    sys.exit("AuxOutput Connector requires Model Runner V2")
from tests.engines.vllm.stub import VllmStub
async def serve():
    await VllmStub(port=int(sys.argv[sys.argv.index("--port") + 1])).start()
    await asyncio.Event().wait()
asyncio.run(serve())
"""


def test_a_server_that_cannot_say_its_experts_starts_without(tmp_path: Path) -> None:
    (tmp_path / "server.py").write_text(SERVER)
    python = tmp_path / "python"
    here = Path(__file__).parents[3]
    python.write_text(
        f'#!/bin/sh\nshift 2\nPYTHONPATH={here} exec {sys.executable} {tmp_path}/server.py "$@"\n'
    )
    python.chmod(0o755)
    mixture = make_mixture(tmp_path)

    async def act() -> None:
        settings = EngineSettings(kind="vllm", context_length=512)
        vllm = VllmSettings(python=str(python))
        engine = VllmEngine(mixture, settings, vllm, make_tokenizer())
        try:
            async with asyncio.timeout(60):
                await engine.load(mixture)
                assert len(await answer(engine, mixture.id)) == 4
        finally:
            await engine.close()

    asyncio.run(act())


def test_an_answer_goes_on_at_another_server() -> None:
    one, two = VllmStub(break_after=2), VllmStub(break_after=2)

    async def act(engine: VllmEngine) -> None:
        await engine.load(BASE)
        await until(lambda: all(replica.ready for replica in engine.replicas))
        tokens = await answer(engine, BASE.id, max_tokens=5)
        assert [token.id for token in tokens] == [10, 11, 12, 13, 14]
        assert tokens[-1].stop == "length"

    play(one, two, act=act)
    asked = [body["token_ids"] for body in (*one.asked, *two.asked)]
    assert sorted(asked, key=len) == [[2, 9], [2, 9, 10, 11], [2, 9, 10, 11, 12, 13]]
    assert all(stub.asked for stub in (one, two))


@pytest.mark.fault
def test_a_server_comes_back_with_what_is_wanted_by_then() -> None:
    one, two = VllmStub(), VllmStub()

    async def act(engine: VllmEngine) -> None:
        await engine.load(BASE)
        await until(lambda: all(replica.ready for replica in engine.replicas))
        await engine.load(adapter(1), BASE)
        await two.stop()
        await until(lambda: not engine.replicas[1].ready)
        await engine.load(adapter(2), BASE)
        await engine.unload(adapter(1).id)
        assert len(await answer(engine, adapter(2).id)) == 4
        await two.start()
        await until(lambda: engine.replicas[1].ready)
        assert two.adapters == {adapter(2).id: "/adapters/2"}
        # One that was restarted between two looks is found out by its first answer.
        await one.stop()
        await one.start()
        for _ in range(4):
            assert len(await answer(engine, adapter(2).id)) == 4
        await until(lambda: adapter(2).id in one.adapters)

    play(one, two, act=act)


@pytest.mark.fault
def test_a_server_that_comes_back_hears_of_what_changes_meanwhile() -> None:
    one, two = VllmStub(), VllmStub()

    async def act(engine: VllmEngine) -> None:
        await engine.load(BASE)
        await until(lambda: all(replica.ready for replica in engine.replicas))
        await engine.load(adapter(1), BASE)
        await two.stop()
        await until(lambda: not engine.replicas[1].ready)
        two.may_load = asyncio.Event()
        two.asked_to_load.clear()
        two.adapters["somebody else's"] = "/elsewhere"
        await two.start()
        await until(lambda: two.asked_to_load == [adapter(1).id])
        await engine.load(adapter(2), BASE)
        await engine.unload(adapter(1).id)
        two.may_load.set()
        await until(lambda: engine.replicas[1].ready)
        assert two.adapters == {"somebody else's": "/elsewhere", adapter(2).id: "/adapters/2"}
        await one.stop()  # the other is the only one that has it
        assert len(await answer(engine, adapter(2).id)) == 4

    play(one, two, act=act)


@pytest.mark.fault
def test_a_server_that_was_out_of_reach_forgets_what_was_unloaded_meanwhile() -> None:
    one, two = VllmStub(), VllmStub()

    async def act(engine: VllmEngine) -> None:
        await engine.load(BASE)
        await until(lambda: all(replica.ready for replica in engine.replicas))
        await engine.load(adapter(1), BASE)
        kept = dict(two.adapters)
        await two.stop()
        await until(lambda: not engine.replicas[1].ready)
        await engine.unload(adapter(1).id)
        two.adapters.update(kept)  # its process lived on
        await two.start()
        await until(lambda: engine.replicas[1].ready)
        assert not two.adapters

    play(one, two, act=act)


def test_without_a_server_it_says_so() -> None:
    stub = VllmStub()

    async def act(engine: VllmEngine) -> None:
        await engine.load(BASE)
        await stub.stop()
        with pytest.raises(EngineError, match="no vLLM server can answer"):
            await answer(engine, BASE.id)
        assert engine.resident() == frozenset()
        with pytest.raises(EngineError, match="cannot be used"):
            await engine.load(adapter(1), BASE)
        await stub.start()

    play(stub, act=act)


def test_an_adapter_that_is_refused_is_forgotten() -> None:
    stub = VllmStub(refuse="rank 64 is above max_lora_rank")

    async def act(engine: VllmEngine) -> None:
        await engine.load(BASE)
        with pytest.raises(EngineError, match="rank 64"):
            await engine.load(adapter(1), BASE)
        assert engine.resident() == {BASE.id}

    play(stub, act=act)


def test_a_server_with_too_short_a_context_is_not_used() -> None:
    async def act(engine: VllmEngine) -> None:
        with pytest.raises(EngineError, match="context is 128 tokens"):
            await engine.load(BASE)

    play(VllmStub(context=128), act=act)


def test_other_weights_are_refused() -> None:
    async def act(engine: VllmEngine) -> None:
        whole = Checkpoint("other@111111111111", "full", Path("/other"))
        with pytest.raises(EngineError, match="other@111111111111"):
            await engine.load(whole)

    play(VllmStub(), act=act)


@pytest.mark.parametrize("line", [b"", b"\n", b": ping\n", b"data: [DONE]\n"])
def test_lines_that_are_no_events(line: bytes) -> None:
    assert read_event(line) is None


def test_an_error_in_the_stream_is_raised() -> None:
    with pytest.raises(EngineError, match="out of memory"):
        read_event(b'data: {"error": {"message": "out of memory", "code": 500}}\n')


def test_a_server_with_less_context_is_taken_as_it_is_unless_a_length_is_set(
    tmp_path: Path,
) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"max_position_embeddings": 32768}))
    base = Checkpoint("tiny@000000000001", "base", tmp_path)
    stub = VllmStub(context=4096)

    async def act(engine: VllmEngine) -> None:
        assert engine.context_length == 32768
        await engine.load(base)
        assert engine.context_length == 4096

    play(stub, act=act, base=base, length=0)
