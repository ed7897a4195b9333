"""What every engine does, said in tests. A module that tests an engine inherits the class and
gives a module-scoped fixture ``harness``."""

from __future__ import annotations

import asyncio
import json
import math
from collections import Counter
from collections.abc import Coroutine, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import pytest
from tests.engines import reference

from liveweights.engines.llama.engine import LlamaEngine
from liveweights.engines.openvino.engine import OpenVinoEngine
from liveweights.engines.protocol import (
    Constraint,
    EngineError,
    InvalidConstraint,
    Measured,
    PromptTooLong,
    Sampling,
    Token,
    UnknownCheckpoint,
)
from liveweights.engines.torch.engine import TorchEngine
from liveweights.engines.vllm.engine import VllmEngine
from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.models import parameters

T = TypeVar("T")

CONTEXT = 512
CODE = 'import os\nimport sys\n\n\ndef main(argv):\n    if len(argv) < 2:\n        print("'
GREETING = 'def hello():\n    """你好，世界"""\n    print("你好，世界")\n    print("'
CHAT = "<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\n"


@dataclass
class Harness:
    """An engine with ``base`` resident, on an event loop of its own."""

    runner: asyncio.Runner
    engine: LlamaEngine | OpenVinoEngine | TorchEngine | VllmEngine
    base: Checkpoint
    adapter: Checkpoint
    tokenizer: Any

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    def ids(self, text: str) -> list[int]:
        return self.tokenizer.encode(text)

    def text(self, ids: Sequence[int]) -> str:
        return self.tokenizer.decode(ids, skip_special_tokens=True)

    async def collect(self, prompt: Sequence[int], checkpoint: str = "", **how: Any) -> list[Token]:
        """A whole answer."""
        sampling = Sampling(**how)
        stream = self.engine.generate(checkpoint or self.base.id, prompt, sampling)
        async with aclosing(stream) as tokens:
            return [token async for token in tokens]

    async def comes_to_rest(self, prompt: Sequence[int]) -> bool:
        """Whether nothing is computed any more, at the latest after 200 tokens of other answers: so
        it is the engine's own work that measures, on a busy machine as on any."""
        for _ in range(10):
            await self.collect(prompt, max_tokens=20, temperature=0.0)
            if await self.engine.active(self.base.id) == 0:
                return True
        return False

    def answer(self, prompt: str, **how: Any) -> list[Token]:
        return self.run(self.collect(self.ids(prompt), **how))

    def error(self, model: Any, prompt: Sequence[int], tokens: Sequence[Token]) -> float:
        """Mean absolute difference between raw log-probabilities here and in the reference."""
        expected = reference.raw_logprobs(model, prompt, [t.id for t in tokens])
        return float(np.mean(np.abs(np.array([t.raw_logprob for t in tokens]) - expected)))


def shown(tokens: Sequence[Token]) -> str:
    return "".join(token.text for token in tokens)


@pytest.mark.model
class EngineConformance:
    def test_streams_exactly_what_it_sampled(self, harness: Harness) -> None:
        tokens = harness.answer(CODE, max_tokens=24, temperature=0.8, seed=1)
        assert shown(tokens) == harness.text([t.id for t in tokens])
        assert [t.stop for t in tokens[:-1]] == [None] * (len(tokens) - 1)
        assert len(tokens) == 24
        assert tokens[-1].stop == "length"

    def test_streams_token_by_token(self, harness: Harness) -> None:
        async def first_comes_alone() -> int:
            prompt = harness.ids(CODE)
            stream = harness.engine.generate(harness.base.id, prompt, Sampling(max_tokens=200))
            async with aclosing(stream) as tokens:
                await anext(tokens)
                return await harness.engine.active(harness.base.id)

        assert harness.run(first_comes_alone()) == 1

    def test_a_seed_reproduces(self, harness: Harness) -> None:
        def sample(seed: int) -> list[int]:
            return [t.id for t in harness.answer(CODE, max_tokens=10, temperature=1.2, seed=seed)]

        sample(3)  # from here on the prompt is in the cache, if there is one
        assert sample(3) == sample(3)
        assert sample(3) != sample(4)

    def test_without_a_seed_answers_differ(self, harness: Harness) -> None:
        answers = {
            tuple(t.id for t in harness.answer(CODE, max_tokens=8, temperature=1.5))
            for _ in range(3)
        }
        assert len(answers) > 1

    def test_temperature_0_is_greedy(self, harness: Harness) -> None:
        tokens = harness.answer(CODE, max_tokens=10, temperature=0.0, top_logprobs=3)
        for token in tokens:
            assert token.logprob == 0.0
            assert token.top[0] == (token.id, pytest.approx(token.raw_logprob, abs=1e-6))

    def test_alternatives_are_the_most_likely_ones(self, harness: Harness) -> None:
        for token in harness.answer(CODE, max_tokens=6, temperature=1.0, seed=2, top_logprobs=5):
            values = [value for _, value in token.top]
            assert len(values) == 5
            assert values == sorted(values, reverse=True)
            assert all(value <= 0 for value in values)
            assert dict(token.top).get(token.id, token.raw_logprob) == pytest.approx(
                token.raw_logprob, abs=1e-6
            )

    def test_a_stop_string_never_shows(self, harness: Harness) -> None:
        full = shown(harness.answer(CODE, max_tokens=24, temperature=0.0))
        stop = full[9:13]
        tokens = harness.answer(CODE, max_tokens=24, temperature=0.0, stop=(stop,))
        assert shown(tokens) == full[: full.index(stop)]
        assert tokens[-1].stop == "stop"
        assert stop in harness.text([t.id for t in tokens])  # what was sampled is all there

    def test_skip_is_not_shown(self, harness: Harness) -> None:
        prompt = "def main(argv):\n    import"
        plain = shown(harness.answer(prompt, max_tokens=8, temperature=0.0))
        assert plain[0] == " "
        tokens = harness.answer(prompt, max_tokens=8, temperature=0.0, skip=" ")
        assert shown(tokens) == plain[1:]
        assert harness.text([t.id for t in tokens]) == plain

    def test_half_characters_are_held_back(self, harness: Harness) -> None:
        tokens = harness.answer(GREETING, max_tokens=24, temperature=0.0)
        sampled = harness.text([t.id for t in tokens])
        assert shown(tokens) == sampled
        assert len(tokens) == 24 or tokens[-1].stop == "stop"
        assert any(not t.text for t in tokens), f"no character of several tokens in {sampled!r}"
        assert "\ufffd" not in shown(tokens[:-1])

    def test_end_of_text_is_a_token(self, harness: Harness) -> None:
        ends = {0, 2}
        tokens = harness.answer(CHAT, max_tokens=40, temperature=0.0)
        assert tokens[-1].id in ends
        assert tokens[-1].stop == "stop"
        assert tokens[-1].raw_logprob < 0
        assert shown(tokens) == harness.text([t.id for t in tokens])
        # An answer may consist of nothing else: silence.
        said = [*harness.ids(CHAT), *(t.id for t in tokens[:-1])]
        [silence] = harness.run(harness.collect(said, max_tokens=5, temperature=0.0))
        assert silence.id == tokens[-1].id
        assert (silence.text, silence.stop) == ("", "stop")

    def test_end_of_text_at_the_limit_is_a_stop(self, harness: Harness) -> None:
        tokens = harness.answer(CHAT, max_tokens=40, temperature=0.0)
        again = harness.answer(CHAT, max_tokens=len(tokens), temperature=0.0)
        assert [t.id for t in again] == [t.id for t in tokens]
        assert again[-1].stop == "stop"

    def test_raw_logprobs_are_the_models(self, harness: Harness) -> None:
        prompt = harness.ids(CODE)
        tokens = harness.run(harness.collect(prompt, max_tokens=48, temperature=0.8, seed=5))
        model = reference.read(harness.base.folder)
        assert harness.error(model, prompt, tokens) <= harness.engine.tolerance

    def test_logprobs_follow_from_the_raw_ones(self, harness: Harness) -> None:
        how: dict[str, Any] = {"temperature": 0.7, "top_k": 20, "top_p": 0.9}
        for token in harness.answer(CODE, max_tokens=16, seed=6, top_logprobs=20, **how):
            weights = np.exp(np.array([raw for _, raw in token.top]) / 0.7)
            weights /= weights.sum()
            kept = int(np.searchsorted(np.cumsum(weights), 0.9)) + 1
            at = [i for i, _ in token.top].index(token.id)
            assert at < kept
            expected = math.log(weights[at] / weights[:kept].sum())
            assert token.logprob == pytest.approx(expected, abs=1e-4)

    def test_tokens_are_drawn_as_often_as_their_logprob_says(self, harness: Harness) -> None:
        draws, prompt = 150, harness.ids("x =")

        async def sample() -> list[Token]:
            how: dict[str, Any] = {"max_tokens": 1, "temperature": 1.3, "top_k": 8, "top_p": 0.8}
            drawn: list[Token] = []
            for seed in range(draws):
                drawn += await harness.collect(prompt, seed=seed, **how)
            return drawn

        tokens = harness.run(sample())
        probability = {t.id: math.exp(t.logprob) for t in tokens}
        assert len(probability) > 2
        assert 0.97 < sum(probability.values()) < 1.001
        counts = Counter(t.id for t in tokens)
        squares = sum((counts[i] - draws * p) ** 2 / (draws * p) for i, p in probability.items())
        # Chi squared: mean k - 1, deviation sqrt(2 (k - 1)); five deviations are beyond chance.
        freedom = len(probability) - 1
        assert squares < freedom + 5 * math.sqrt(2 * freedom)

    def test_answers_at_once_do_not_mix(self, harness: Harness) -> None:
        prompts = [harness.ids(f"{CODE}usage {i}") for i in (1, 20, 300, 4, 50, 600)]

        async def all_at_once() -> list[list[Token]]:
            return await asyncio.gather(
                *(harness.collect(p, max_tokens=10, temperature=0.7, seed=1) for p in prompts)
            )

        model = reference.read(harness.base.folder)
        errors: list[float] = []
        for prompt, tokens in zip(prompts, harness.run(all_at_once()), strict=True):
            assert 1 <= len(tokens) <= 10
            errors.append(harness.error(model, prompt, tokens))
        # An answer to another prompt would be off by whole nats; rounding in a batch is not.
        assert np.mean(errors) <= max(1.0, 2 * harness.engine.tolerance)

    def test_load_and_unload_while_others_generate(self, harness: Harness) -> None:
        prompt, adapter = harness.ids(CODE), harness.adapter

        async def swap() -> tuple[list[Token], list[Token]]:
            how: dict[str, Any] = {"temperature": 0.0, "max_tokens": 40}
            streaming = asyncio.create_task(harness.collect(prompt, **how))
            await harness.engine.load(adapter, harness.base)
            await harness.engine.load(adapter, harness.base)  # does nothing
            assert {harness.base.id, adapter.id} <= harness.engine.resident()
            both = await asyncio.gather(
                harness.collect(prompt, **how), harness.collect(prompt, adapter.id, **how)
            )
            await harness.engine.unload(adapter.id)
            assert adapter.id not in harness.engine.resident()
            with pytest.raises(UnknownCheckpoint):
                await harness.collect(prompt, adapter.id)
            assert len(await streaming) == 40
            return both[0], both[1]

        plain, adapted = harness.run(swap())
        assert [t.id for t in plain] != [t.id for t in adapted]
        unadapted = reference.read(harness.base.folder)
        assert harness.error(unadapted, prompt, plain) <= harness.engine.tolerance
        model = reference.read_adapted(harness.base.folder, adapter.folder)
        error = harness.error(model, prompt, adapted)
        assert error <= harness.engine.tolerance
        # The difference between the two is larger than what precision explains.
        assert harness.error(unadapted, prompt, adapted) > 2 * error

    def test_says_what_memory_its_checkpoints_take(self, harness: Harness) -> None:
        engine = harness.engine
        if not isinstance(engine, Measured):
            pytest.skip("its memory is another server's")
        assert engine.memory() > parameters(harness.base.folder) // 2

    def test_closing_the_answer_ends_its_computation(self, harness: Harness) -> None:
        async def leave() -> None:
            prompt = harness.ids(CODE)
            stream = harness.engine.generate(
                harness.base.id, prompt, Sampling(max_tokens=450, temperature=1.0)
            )
            for _ in range(3):
                await anext(stream)
            await stream.aclose()
            assert await harness.comes_to_rest(prompt), "the answer is still computed"

        harness.run(leave())

    def test_cancelling_the_task_ends_its_computation(self, harness: Harness) -> None:
        async def cancel() -> None:
            prompt = harness.ids(CODE)
            task = asyncio.create_task(harness.collect(prompt, max_tokens=450))
            while await harness.engine.active(harness.base.id) == 0:
                await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await harness.comes_to_rest(prompt), "the answer is still computed"

        harness.run(cancel())

    def test_the_whole_context_can_be_used(self, harness: Harness) -> None:
        assert harness.engine.context_length == CONTEXT
        prompt = (harness.ids(CODE) * 40)[: CONTEXT - 4]
        for _ in range(2):  # the second time from the cache, if there is one
            tokens = harness.run(harness.collect(prompt, max_tokens=4, temperature=0.0))
            assert len(tokens) == 4
            assert tokens[-1].stop == "length"

    def test_what_cannot_be_answered_says_why(self, harness: Harness) -> None:
        prompt = harness.ids(CODE)
        with pytest.raises(UnknownCheckpoint, match="nobody@000000000000"):
            harness.run(harness.collect(prompt, "nobody@000000000000"))
        with pytest.raises(PromptTooLong, match="max_tokens"):
            harness.run(harness.collect(prompt, max_tokens=CONTEXT))
        with pytest.raises(EngineError, match="empty"):
            harness.run(harness.collect([]))
        with pytest.raises(EngineError, match="at least 1"):
            harness.run(harness.collect(prompt, max_tokens=0))

    def test_what_cannot_be_loaded_says_why(self, harness: Harness) -> None:
        engine, adapter = harness.engine, harness.adapter
        with pytest.raises(EngineError, match="adapter"):
            harness.run(engine.load(adapter))
        missing = Checkpoint("gone@111111111111", "full", adapter.folder / "nowhere")
        with pytest.raises(EngineError, match="gone@111111111111"):
            harness.run(engine.load(missing))
        assert missing.id not in engine.resident()
        harness.run(engine.unload(missing.id))  # unknown ids are ignored
        assert len(harness.answer(CODE, max_tokens=2)) == 2


@pytest.mark.model
class GuidedConformance:
    """What engines do that can be guided: bias and constraints."""

    def test_a_bias_is_part_of_what_is_sampled(self, harness: Harness) -> None:
        plain = harness.answer(CODE, max_tokens=1, temperature=0.0, top_logprobs=5)[0]
        first, second, *_ = (token for token, _ in plain.top)
        how: dict[str, Any] = {"max_tokens": 3, "top_logprobs": 5}
        [unlikely] = harness.ids("zebra")[:1]
        forced = harness.answer(CODE, logit_bias=((unlikely, 100.0),), **how)
        assert [t.id for t in forced] == [unlikely] * 3
        assert all(t.logprob > -1e-6 and t.raw_logprob < -1 for t in forced)
        assert forced[0].top[0] == (first, pytest.approx(plain.raw_logprob, abs=0.05))
        banned = harness.answer(CODE, temperature=0.0, logit_bias=((first, -100.0),), **how)
        assert banned[0].id == second
        bias = ((first, -1.0), (second, 0.5))
        seen: dict[int, float] = {}
        for seed in range(6):
            [token] = harness.answer(
                CODE, max_tokens=1, temperature=0.9, top_k=4, seed=seed, logit_bias=bias,
                top_logprobs=5,
            )  # fmt: skip
            logits = {i: raw + dict(bias).get(i, 0.0) for i, raw in token.top}
            kept = dict(sorted(logits.items(), key=lambda item: -item[1])[:4])
            total = sum(math.exp(value / 0.9) for value in kept.values())
            seen[token.id] = math.exp(kept[token.id] / 0.9) / total
            assert math.exp(token.logprob) == pytest.approx(seen[token.id], abs=1e-4)
        assert len(seen) > 1

    def test_penalties_are_part_of_what_is_sampled(self, harness: Harness) -> None:
        repeated = 0
        for seed in range(4):
            counts: Counter[int] = Counter()
            for token in harness.answer(
                "x = 1\nx = 1\nx = 1\n", max_tokens=12, temperature=0.9, top_k=4, seed=seed,
                top_logprobs=12, frequency_penalty=0.7, presence_penalty=0.4,
            ):  # fmt: skip
                logits = {i: raw - 0.7 * counts[i] - 0.4 * (counts[i] > 0) for i, raw in token.top}
                kept = dict(sorted(logits.items(), key=lambda item: -item[1])[:4])
                total = sum(math.exp(value / 0.9) for value in kept.values())
                drawn = math.exp(kept[token.id] / 0.9) / total
                assert math.exp(token.logprob) == pytest.approx(drawn, abs=1e-3)
                repeated += any(counts[i] for i in kept)
                counts[token.id] += 1
        assert repeated
        plain = harness.answer(CODE, max_tokens=24, temperature=0.0)
        unlike = harness.answer(CODE, max_tokens=24, temperature=0.0, repetition_penalty=5.0)
        assert len({t.id for t in unlike}) > len({t.id for t in plain})

    def test_min_p_is_part_of_what_is_sampled(self, harness: Harness) -> None:
        for seed in range(4):
            for least in (0.05, 0.3, 1.0):
                [token] = harness.answer(
                    CODE, max_tokens=1, temperature=1.2, top_k=8, seed=seed, min_p=least,
                    top_logprobs=8,
                )  # fmt: skip
                best = token.top[0][1]
                weights = {i: math.exp((raw - best) / 1.2) for i, raw in token.top}
                kept = {i: weight for i, weight in weights.items() if weight >= least}
                drawn = kept[token.id] / sum(kept.values())
                assert math.exp(token.logprob) == pytest.approx(drawn, abs=1e-3)

    def test_a_constraint_holds_and_is_part_of_what_is_sampled(self, harness: Harness) -> None:
        schema = json.dumps(
            {
                "type": "object",
                "properties": {
                    "name": {"type": "string", "maxLength": 12},
                    "age": {"type": "integer", "minimum": 0, "maximum": 150},
                    "kind": {"enum": ["cat", "dog"]},
                },
                "required": ["name", "age", "kind"],
                "additionalProperties": False,
            }
        )
        model = reference.read(harness.base.folder)
        prompt = harness.ids(CHAT)
        for how in ({"temperature": 0.0}, {"temperature": 1.0, "seed": 2}):
            constraint = Constraint("json_schema", schema)
            tokens = harness.answer(CHAT, max_tokens=80, constraint=constraint, **how)
            value = json.loads(shown(tokens))
            assert set(value) == {"name", "age", "kind"}
            assert 0 <= value["age"] <= 150
            assert value["kind"] in ("cat", "dog")
            assert tokens[-1].stop == "stop"
            assert harness.error(model, prompt, tokens) <= max(0.5, harness.engine.tolerance)
            # Where nothing else could come, nothing was chosen.
            assert any(t.logprob == 0.0 and t.raw_logprob < -1 for t in tokens)

    def test_any_json_and_grammars(self, harness: Harness) -> None:
        tokens = harness.answer(CHAT, max_tokens=60, temperature=0.0, constraint=Constraint("json"))
        assert shown(tokens).startswith("{")
        grammar = Constraint("lark", 'start: "yes" | "no" | /[0-9]{3}/')
        for seed in range(4):
            said = shown(harness.answer(CHAT, max_tokens=8, seed=seed, constraint=grammar))
            assert said in ("yes", "no") or (len(said) == 3 and said.isdigit())

    def test_a_constraint_that_makes_no_sense_says_so(self, harness: Harness) -> None:
        for constraint in (
            Constraint("json_schema", '{"type": "nonsense"}'),
            Constraint("json_schema", "{"),
            Constraint("lark", "start: nowhere"),
        ):
            with pytest.raises(InvalidConstraint, match="not understood"):
                harness.answer(CHAT, constraint=constraint)


class ExpertsConformance:
    """What engines do that record the experts of a mixture. The module gives a module-scoped
    fixture ``mixture``: a harness whose adapter is on the base's attention."""

    def test_the_last_token_says_which_experts_served(self, mixture: Harness) -> None:
        model = reference.read(mixture.base.folder)
        prompt = mixture.ids(CODE)
        for how in ({"seed": 1}, {"temperature": 0.0}, {"seed": 1, "max_tokens": 1}):
            sampling = {"max_tokens": 12, **how}
            tokens = mixture.run(mixture.collect(prompt, **sampling))
            assert_served(model, prompt, tokens)

    def test_experts_of_answers_at_once_do_not_mix(self, mixture: Harness) -> None:
        model = reference.read(mixture.base.folder)
        prompts = [mixture.ids(text * n) for n, text in enumerate((CODE, "x = ", CODE, "y"), 1)]

        async def all_at_once() -> list[list[Token]]:
            return await asyncio.gather(
                *(
                    mixture.collect(prompt, max_tokens=5 + 7 * n, seed=n)
                    for n, prompt in enumerate(prompts)
                )
            )

        for prompt, tokens in zip(prompts, mixture.run(all_at_once()), strict=True):
            assert_served(model, prompt, tokens)

    def test_experts_of_a_prompt_that_goes_on_from_another(self, mixture: Harness) -> None:
        model = reference.read(mixture.base.folder)
        prompt = mixture.ids(CODE * 2)
        for _ in range(2):
            tokens = mixture.run(mixture.collect(prompt, max_tokens=6, seed=3))
            assert_served(model, prompt, tokens)
            prompt = [*prompt, *(token.id for token in tokens)]

    def test_experts_of_an_adapter(self, mixture: Harness) -> None:
        prompt, adapter = mixture.ids(CODE), mixture.adapter

        async def both() -> list[list[Token]]:
            await mixture.engine.load(adapter, mixture.base)
            answers = [mixture.collect(prompt, id, seed=2) for id in (adapter.id, mixture.base.id)]
            found = await asyncio.gather(*answers)
            await mixture.engine.unload(adapter.id)
            return found

        adapted, plain = mixture.run(both())
        model = reference.read_adapted(mixture.base.folder, adapter.folder)
        assert_served(model, prompt, adapted)
        assert_served(reference.read(mixture.base.folder), prompt, plain)


def assert_served(model: Any, prompt: Sequence[int], tokens: Sequence[Token]) -> None:
    """One recording, on the last token: what one plain pass over prompt and answer chooses."""
    assert all(token.experts is None for token in tokens[:-1])
    experts = tokens[-1].experts
    assert experts is not None
    assert experts.serves(len(prompt), len(tokens))
    expected_TLK = reference.experts(model, prompt, [token.id for token in tokens])
    assert experts.chosen.dtype == np.int16
    assert experts.chosen.shape == expected_TLK.shape
    assert np.array_equal(np.sort(experts.chosen), np.sort(expected_TLK))
