"""Serving on a CPU with llama.cpp: one child process per resident checkpoint."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import aiohttp

from liveweights.engines.context import with_context
from liveweights.engines.drawn import Step, candidate_count
from liveweights.engines.guide import GuideMaker
from liveweights.engines.limits import check_request
from liveweights.engines.lines import read_lines
from liveweights.engines.llama.events import Candidate, decode_event, possible_ends, read_steps
from liveweights.engines.llama.guided import GuidedDraws
from liveweights.engines.llama.host import Host
from liveweights.engines.llama.parity import check_parity
from liveweights.engines.llama.precision import REFERENCE, choose_precision
from liveweights.engines.llama.process import LlamaProcess
from liveweights.engines.penalties import make_penalties
from liveweights.engines.protocol import (
    ALL_GUIDANCE,
    EngineError,
    Guidance,
    Sampling,
    Token,
    UnknownCheckpoint,
)
from liveweights.engines.resumed import Interrupted, generate_resumed
from liveweights.engines.settings import EngineSettings
from liveweights.engines.text import TextStream
from liveweights.machine import resident_memory
from liveweights.weights.adapters import to_gguf_adapter
from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.content import source_files
from liveweights.weights.gguf import Precision, UnsupportedByLlamaCpp, to_gguf
from liveweights.weights.gguf_base import is_exact
from liveweights.weights.models import end_of_text_ids, load_tokenizer
from liveweights.weights.staging import write_whole

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_SPARE = 8  # llama.cpp stops a little short of a full slot
_TOLERANCE = {"f32": 0.02, "f16": 0.02, "q8_0": 0.2, "q4_0": 0.8}
_OWN_TOLERANCE = 0.1
"""Of a GGUF with quantised values: float32 is computed with the same values, so that what differs
is the rounding of activations to eight bits."""


class LlamaEngine:
    """``Engine`` on llama.cpp.

    A token is drawn by top-k, temperature and top-p, in this order, from at most
    ``drawn.MAX_CANDIDATES`` candidates (``settings.candidates`` when the request gives no top_k).
    All of them come back with their raw log-probabilities, so that the probability with which the
    token was drawn is computed exactly, not estimated.

    With a bias or a constraint the same is done here instead of there (``guided``): the
    candidates are those of the ``guided.CANDIDATES`` most likely tokens that may come next.

    A child that dies is started again and its answers go on from the tokens that they had: the
    caller sees a pause. What a seed gives after that differs from what it gave before.
    """

    def __init__(
        self,
        base: Checkpoint,
        cache: Path,
        settings: EngineSettings | None = None,
        tokenizer: PreTrainedTokenizerBase | None = None,
    ) -> None:
        self._settings = with_context(base, settings or EngineSettings())
        self._cache = cache
        self._tokenizer = tokenizer or load_tokenizer(base)
        self._may_end = possible_ends(self._tokenizer)
        precision = self._settings.precision
        self._precision: Precision | None = None if precision == "auto" else precision
        """None until it is chosen."""
        self._choosing = asyncio.Lock()
        self._is_own = bool(source_files(base.folder))
        """Whether it is served from GGUF files of its own."""
        self._is_exact = self._is_own and is_exact(base.folder)
        self._ends = end_of_text_ids(base, self._tokenizer)
        self._guides = GuideMaker(self._tokenizer, self._ends)
        self._children: dict[str, LlamaProcess] = {}
        self._loading: dict[str, asyncio.Task[None]] = {}

    @property
    def context_length(self) -> int:
        """Tokens of prompt and answer together."""
        return self._settings.context_length

    @property
    def tolerance(self) -> float:
        """Mean absolute difference in nats between raw log-probabilities here and in float32."""
        if self._is_own:
            return _TOLERANCE["f16"] if self._is_exact else _OWN_TOLERANCE
        return _TOLERANCE[self._precision or "q4_0"]

    @property
    def guidance(self) -> frozenset[Guidance]:
        """What it follows that changes the distribution that a token is drawn from."""
        return ALL_GUIDANCE

    def resident(self) -> frozenset[str]:
        """Ids of the checkpoints that can answer now."""
        return frozenset(i for i, child in self._children.items() if not child.failed)

    def process_id(self, checkpoint_id: str) -> int | None:
        """Process id of the checkpoint's child, None while there is none."""
        child = self._children.get(checkpoint_id)
        return child.pid if child else None

    def memory(self) -> int:
        """Bytes that the checkpoints' children have resident; weights that two of them share are
        counted twice."""
        return sum(resident_memory(child.pid) for child in self._children.values() if child.pid)

    def address(self, checkpoint_id: str) -> str | None:
        """URL of the checkpoint's child, None while there is none."""
        child = self._children.get(checkpoint_id)
        return child.address if child else None

    async def active(self, checkpoint_id: str) -> int:
        """How many answers the checkpoint is computing now."""
        child = self._children.get(checkpoint_id)
        if child is None or not child.running:
            return 0
        async with child.request("GET", "/slots") as response:
            return sum(bool(slot["is_processing"]) for slot in await response.json())

    async def load(self, checkpoint: Checkpoint, base: Checkpoint | None = None) -> None:
        """Make ``checkpoint`` resident; see ``Engine.load``."""
        if checkpoint.id in self.resident():
            return
        task = self._loading.get(checkpoint.id)
        if task is None:
            task = asyncio.create_task(self._load(checkpoint, base))
            self._loading[checkpoint.id] = task
            task.add_done_callback(lambda _: self._loading.pop(checkpoint.id, None))
        await asyncio.shield(task)

    async def _load(self, checkpoint: Checkpoint, base: Checkpoint | None) -> None:
        if (checkpoint.kind == "adapter") != (base is not None):
            raise EngineError(f"{checkpoint.id}: a base is given exactly with an adapter")
        try:
            whole = base or checkpoint
            own = source_files(whole.folder)
            passed = self._cache / "parity" / whole.id
            is_new = bool(own) and not passed.exists()
            if is_new:
                await check_parity(whole, own[0], self._tokenizer)
            precision = REFERENCE if own else await self._chosen(whole)
            gguf = await asyncio.to_thread(to_gguf, whole, self._cache, precision)
            adapter = None
            if base is not None:
                adapter = await asyncio.to_thread(to_gguf_adapter, checkpoint, base, self._cache)
        except UnsupportedByLlamaCpp as error:
            raise EngineError(str(error)) from error
        except (OSError, ValueError, KeyError) as error:
            raise EngineError(f"{checkpoint.id} cannot be converted: {error}") from error
        host = Host(
            gguf=str(gguf),
            adapter=str(adapter) if adapter else None,
            api_key="",
            context_length=self.context_length + _SPARE,
            slots=self._settings.slots,
            threads=self._settings.cores(),
            cache_mib=self._settings.cache_mib,
            check_values=is_new,
        )
        await self.unload(checkpoint.id)  # one that was given up
        child = LlamaProcess(checkpoint.id, host)
        try:
            await asyncio.gather(child.start(), self._guides.prepare())
        except BaseException:
            await child.stop()
            raise
        if is_new:
            write_whole(passed, b"")
        self._children[checkpoint.id] = child

    async def _chosen(self, whole: Checkpoint) -> Precision:
        async with self._choosing:
            if self._precision is None:
                loss, threads = self._settings.max_loss, self._settings.cores()
                self._precision = await choose_precision(whole, self._cache, loss, threads)
            return self._precision

    async def unload(self, checkpoint_id: str) -> None:
        """Free the checkpoint's memory; see ``Engine.unload``."""
        child = self._children.pop(checkpoint_id, None)
        if child is not None:
            await child.stop()

    async def close(self) -> None:
        """End all children."""
        for task in list(self._loading.values()):
            task.cancel()
        await asyncio.gather(*self._loading.values(), return_exceptions=True)
        await asyncio.gather(*(self.unload(i) for i in list(self._children)))

    async def generate(
        self, checkpoint_id: str, prompt_ids: Sequence[int], sampling: Sampling
    ) -> AsyncGenerator[Token]:
        """Sample an answer, token by token; see ``Engine.generate``."""
        child = self._children.get(checkpoint_id)
        if child is None:
            raise UnknownCheckpoint(f"{checkpoint_id} is not resident on this engine")
        check_request(len(prompt_ids), sampling, self.context_length)
        size = candidate_count(sampling, self._settings.candidates)
        draws: GuidedDraws | None = None
        penalties = make_penalties(sampling, prompt_ids)
        if sampling.constraint or sampling.logit_bias or penalties:
            guide = await self._guides.make(sampling.constraint) if sampling.constraint else None
            vocabulary = len(cast(Any, self._tokenizer))
            draws = GuidedDraws(sampling, guide, penalties, vocabulary=vocabulary, candidates=size)
        text = TextStream(self._tokenizer, sampling.stop, sampling.skip)
        seen: int | None = None

        async def attempt(done: Sequence[int]) -> AsyncGenerator[tuple[Step, bool]]:
            nonlocal seen
            if seen is not None:
                await child.revive(seen)
            seen = child.incarnation
            ids = [*prompt_ids, *done]
            async with aclosing(
                self._guided_steps(child, ids, draws)
                if draws
                else self._steps(child, ids, sampling, done=len(done), size=size)
            ) as steps:
                async for step in steps:
                    yield step

        tokens = generate_resumed(checkpoint_id, attempt, sampling, text, candidates=size)
        async with aclosing(tokens):
            async for token in tokens:
                yield token

    async def _steps(
        self, child: LlamaProcess, ids: list[int], sampling: Sampling, *, done: int, size: int
    ) -> AsyncGenerator[tuple[Step, bool]]:
        """The steps of one request, each with whether it was an end-of-text token."""
        seed = random.getrandbits(31) if sampling.seed is None else sampling.seed + done
        request = {
            "prompt": ids,
            "n_predict": sampling.max_tokens - done,
            "stream": True,
            "return_tokens": True,
            "cache_prompt": True,
            "samplers": ["top_k", "temperature", "min_p", "top_p"],
            "top_k": size,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "min_p": sampling.min_p,
            "seed": seed & 0x7FFFFFFF,
            "n_probs": max(size, sampling.top_logprobs),
        }
        try:
            async with child.request("POST", "/completion", request) as response:
                if response.status != 200:
                    raise _refusal(child.checkpoint_id, response.status, await response.text())
                # The last event of an answer repeats the prompt in one line.
                lines = read_lines(response.content.iter_any())
                steps = read_steps(lines, self._may_end, child.checkpoint_id)
                async with aclosing(steps):
                    async for step in steps:
                        yield step
        except (aiohttp.ClientError, ConnectionError, TimeoutError) as error:
            raise Interrupted(repr(error)) from error

    async def _guided_steps(
        self, child: LlamaProcess, ids: list[int], draws: GuidedDraws
    ) -> AsyncGenerator[tuple[Step, bool]]:
        """As ``_steps``, one request a step; the prompt cache makes a step cost one token."""

        async def ask(how: dict[str, Any]) -> list[Candidate]:
            request = {
                "prompt": ids,
                "n_predict": 1,
                "return_tokens": True,
                "cache_prompt": True,
                "samplers": [],
                **how,
            }
            try:
                async with child.request("POST", "/completion", request) as response:
                    if response.status != 200:
                        raise _refusal(child.checkpoint_id, response.status, await response.text())
                    event = decode_event(await response.read())
            except (aiohttp.ClientError, ConnectionError, TimeoutError) as error:
                raise Interrupted(repr(error)) from error
            (scored,) = event.completion_probabilities
            return [Candidate(scored.id, scored.logprob), *scored.top_logprobs]

        ids = list(ids)
        while True:
            token, drawn, raw, top = await draws.draw(ask)
            ids.append(token)
            yield Step(token, raw, tuple(top), drawn=drawn), token in self._ends


def _refusal(checkpoint_id: str, status: int, body: str) -> Exception:
    try:
        message = json.loads(body)["error"]["message"]
    except (ValueError, KeyError, TypeError):
        message = body[:500]
    if status == 503:  # still reading its weights
        return Interrupted(message)
    return EngineError(f"{checkpoint_id}: llama.cpp answered {status}: {message}")
