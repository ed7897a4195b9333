"""The torch engine."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.engines import reference
from tests.engines.conformance import (
    CODE,
    CONTEXT,
    EngineConformance,
    ExpertsConformance,
    GuidedConformance,
    Harness,
    assert_served,
)
from tests.learn.families import make_config, write_family

from liveweights.engines.protocol import Token
from liveweights.engines.settings import EngineSettings
from liveweights.engines.torch.batch import Batch
from liveweights.engines.torch.engine import TorchEngine
from liveweights.learn.updaters.targets import find_targets
from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.models import find, load_tokenizer


@pytest.fixture(scope="module")
def harness(
    base: Checkpoint, adapter: Checkpoint, tokenizer: Any, model_cache: Path
) -> Iterator[Harness]:
    with asyncio.Runner() as runner:
        settings = EngineSettings(kind="torch", context_length=CONTEXT)
        engine = TorchEngine(base, model_cache, settings, tokenizer)
        runner.run(engine.load(base))
        yield Harness(runner, engine, base, adapter, tokenizer)
        runner.run(engine.close())


def make_mixture(family: str, folder: Path, runner: asyncio.Runner) -> Harness:
    """A tiny random one, with its tokenizer of bytes."""
    config = make_config(family)
    config.max_position_embeddings = CONTEXT
    base = find(str(write_family(config, folder / family)), folder / "cache")
    projections = {"target_modules": r".*\.[qkvo]_proj"}
    adapter = reference.make_adapter(base, folder / "adapter", std=0.3, **projections)
    settings = EngineSettings(kind="torch", context_length=CONTEXT)
    engine = TorchEngine(base, folder, settings)
    runner.run(engine.load(base))
    return Harness(runner, engine, base, adapter, load_tokenizer(base))


@pytest.fixture(scope="module")
def mixture(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Harness]:
    with asyncio.Runner() as runner:
        harness = make_mixture("mixtral", tmp_path_factory.mktemp("mixture"), runner)
        yield harness
        runner.run(harness.engine.close())


class TestTorchExperts(ExpertsConformance):
    def test_experts_of_answers_that_are_decoded_alone(self, tmp_path: Path) -> None:
        with asyncio.Runner() as runner:
            recurrent = make_mixture("nemotron_h", tmp_path, runner)
            prompt = recurrent.ids(CODE)
            tokens = runner.run(recurrent.collect(prompt, max_tokens=8, seed=1))
            assert_served(reference.read(recurrent.base.folder), prompt, tokens)
            runner.run(recurrent.engine.close())

    def test_adapted_experts_leave_those_of_the_base_alone(
        self, mixture: Harness, tmp_path: Path
    ) -> None:
        targets = find_targets(reference.read(mixture.base.folder), ("attention", "experts"))
        adapted = reference.make_adapter(
            mixture.base,
            tmp_path / "experts",
            std=0.3,
            target_modules=targets.modules,
            target_parameters=targets.parameters,
        )
        prompt = mixture.ids(CODE)
        mixture.run(mixture.engine.load(adapted, mixture.base))
        said: list[list[int]] = []
        for checkpoint, model in (
            (adapted, reference.read_adapted(mixture.base.folder, adapted.folder)),
            (mixture.base, reference.read(mixture.base.folder)),
        ):
            tokens = mixture.run(
                mixture.collect(prompt, checkpoint.id, max_tokens=12, temperature=0.0)
            )
            assert mixture.error(model, prompt, tokens) <= mixture.engine.tolerance
            said.append([token.id for token in tokens])
        assert said[0] != said[1]
        mixture.run(mixture.engine.unload(adapted.id))

    def test_a_stop_string_ends_them_too(self, mixture: Harness) -> None:
        prompt = mixture.ids(CODE)
        said = mixture.run(mixture.collect(prompt, max_tokens=9, temperature=0.0))
        stop = "".join(token.text for token in said)[3:5]
        tokens = mixture.run(mixture.collect(prompt, max_tokens=9, temperature=0.0, stop=(stop,)))
        assert len(tokens) < 9
        assert_served(reference.read(mixture.base.folder), prompt, tokens)


class TestTorchEngine(EngineConformance, GuidedConformance):
    def test_scores_given_tokens(self, harness: Harness) -> None:
        prompt, output = harness.ids(CODE), harness.ids("usage: main FILE")
        assert isinstance(harness.engine, TorchEngine)
        scores = harness.run(harness.engine.score(harness.base.id, prompt, output))
        expected = reference.raw_logprobs(reference.read(harness.base.folder), prompt, output)
        assert scores == pytest.approx(expected, abs=1e-4)

    def test_a_prompt_that_was_seen_is_not_computed_again(self, harness: Harness) -> None:
        prompt = harness.ids(CODE * 3)
        how: dict[str, Any] = {"max_tokens": 8, "temperature": 0.0}
        first = harness.run(harness.collect(prompt, **how))
        prefixes = harness.engine._prefixes  # type: ignore[union-attr]
        shared, _ = prefixes.find(harness.base.id, prompt)
        assert shared == len(prompt) - 1
        again = harness.run(harness.collect(prompt, **how))
        assert [t.id for t in first] == [t.id for t in again]
        model = reference.read(harness.base.folder)
        assert harness.error(model, prompt, again) <= harness.engine.tolerance

    def test_guesses_change_nothing_of_what_is_sampled(
        self, harness: Harness, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        repeating = "x = 1\ny = 2\nz = 3\n" * 6 + "x = 1\ny ="
        prompts = [harness.ids(text) for text in (repeating, CODE + CODE[:40], "Once")]

        async def answers(engine: TorchEngine) -> list[list[Token]]:
            served = Harness(
                harness.runner, engine, harness.base, harness.adapter, harness.tokenizer
            )
            how: dict[str, Any] = {"max_tokens": 24, "temperature": 0.7, "top_p": 0.9, "seed": 5}
            return [await served.collect(ids, **how) for ids in prompts]  # each alone

        async def without() -> list[list[Token]]:
            settings = EngineSettings(kind="torch", context_length=CONTEXT, guesses=0)
            engine = TorchEngine(harness.base, Path(), settings, harness.tokenizer)
            await engine.load(harness.base)
            try:
                return await answers(engine)
            finally:
                await engine.close()

        assert isinstance(harness.engine, TorchEngine)
        steps: list[int] = []
        forward = Batch.forward

        def counted(batch: Batch, ids: Any) -> Any:
            steps.append(len(ids[0]))
            return forward(batch, ids)

        monkeypatch.setattr(Batch, "forward", counted)
        guessed = harness.run(answers(harness.engine))
        assert max(steps) > 1
        assert len(steps) < sum(len(tokens) - 1 for tokens in guessed), "no guess was right"
        plain = harness.run(without())
        for one, other in zip(guessed, plain, strict=True):
            assert [t.id for t in one] == [t.id for t in other]
            assert [t.logprob for t in one] == pytest.approx([t.logprob for t in other], abs=1e-3)

    def test_a_dense_model_has_no_experts(self, harness: Harness) -> None:
        assert all(token.experts is None for token in harness.answer(CODE, max_tokens=3))
