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
import msgspec

from liveweights.engines.context import with_context
from liveweights.engines.distribution import sampling_logprob
from liveweights.engines.guide import GuideMaker
from liveweights.engines.limits import check_request
from liveweights.engines.llama.guided import GuidedDraws
from liveweights.engines.llama.host import Host
from liveweights.engines.llama.precision import choose_precision
from liveweights.engines.llama.process import LlamaProcess
from liveweights.engines.penalties import make_penalties
from liveweights.engines.protocol import (
    EngineError,
    Sampling,
    StopReason,
    Token,
    UnknownCheckpoint,
)
from liveweights.engines.settings import EngineSettings
from liveweights.engines.text import TextStream, special_ids
from liveweights.weights.adapters import to_gguf_adapter
from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.gguf import Precision, UnsupportedByLlamaCpp, to_gguf
from liveweights.weights.models import end_of_text_ids, load_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

MAX_CANDIDATES = 64
CONTINUATIONS = 5
"""How often in a row an answer is taken up again after a crash without a token in between."""
_SPARE = 8  # llama.cpp stops a little short of a full slot
_TOLERANCE = {"f32": 0.02, "f16": 0.02, "q8_0": 0.2, "q4_0": 0.8}


class _Candidate(msgspec.Struct):
    id: int
    logprob: float


class _Step(msgspec.Struct):
    id: int
    logprob: float
    top_logprobs: list[_Candidate] = []
    drawn: float | None = None
    """Log-probability with which it was drawn, where we drew it."""


class _Event(msgspec.Struct):
    """One line of the server's stream; the last one has ``stop``."""

    tokens: list[int] = []
    stop: bool = False
    stop_type: str = "none"
    completion_probabilities: list[_Step] = []
    error: dict[str, Any] | None = None


_decode_event = msgspec.json.Decoder(_Event).decode


class _Interrupted(Exception):
    """The child went away before the answer was complete."""


class LlamaEngine:
    """``Engine`` on llama.cpp.

    A token is drawn by top-k, temperature and top-p, in this order, from at most
    ``MAX_CANDIDATES`` candidates (``settings.candidates`` when the request gives no top_k). All
    of them come back with their raw log-probabilities, so that the probability with which the
    token was drawn is computed exactly, not estimated.

    With a bias or a constraint the same is done here instead of there (``llama_guided``): the
    candidates are those of the ``llama_guided.CANDIDATES`` most likely tokens that may come next.

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
        self._special = special_ids(self._tokenizer)
        precision = self._settings.precision
        self._precision: Precision | None = None if precision == "auto" else precision
        """None until it is chosen."""
        self._choosing = asyncio.Lock()
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
        return _TOLERANCE[self._precision or "q4_0"]

    @property
    def guided(self) -> bool:
        """Whether it takes what changes the distribution that a token is drawn from."""
        return True

    def resident(self) -> frozenset[str]:
        """Ids of the checkpoints that can answer now."""
        return frozenset(i for i, child in self._children.items() if not child.failed)

    def process_id(self, checkpoint_id: str) -> int | None:
        """Process id of the checkpoint's child, None while there is none."""
        child = self._children.get(checkpoint_id)
        return child.pid if child else None

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
            precision = await self._chosen(whole)
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
        )
        await self.unload(checkpoint.id)  # one that was given up
        child = LlamaProcess(checkpoint.id, host)
        try:
            await asyncio.gather(child.start(), self._guides.prepare())
        except BaseException:
            await child.stop()
            raise
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
        draws: GuidedDraws | None = None
        penalties = make_penalties(sampling, prompt_ids)
        if sampling.constraint or sampling.logit_bias or penalties:
            guide = await self._guides.make(sampling.constraint) if sampling.constraint else None
            size = self._candidates(sampling)
            vocabulary = len(cast(Any, self._tokenizer))
            draws = GuidedDraws(sampling, guide, penalties, vocabulary, size)
        text = TextStream(self._tokenizer, sampling.stop, sampling.skip)
        done: list[int] = []
        without_progress = 0
        while True:
            seen, before = child.incarnation, len(done)
            try:
                ids = [*prompt_ids, *done]
                async with aclosing(
                    self._guided_steps(child, ids, draws)
                    if draws
                    else self._steps(child, ids, sampling, len(done))
                ) as steps:
                    async for step, ended in steps:
                        done.append(step.id)
                        token = self._token(step, sampling, text, len(done), ended)
                        yield token
                        if token.stop:
                            return
                raise EngineError(f"{checkpoint_id}: the answer ended after {len(done)} tokens")
            except _Interrupted as reason:
                without_progress = 0 if len(done) > before else without_progress + 1
                if without_progress > CONTINUATIONS:
                    raise EngineError(
                        f"{checkpoint_id} broke off {without_progress} times at the same token: "
                        f"{reason}"
                    ) from reason
                await child.revive(seen)

    def _token(
        self, step: _Step, sampling: Sampling, text: TextStream, count: int, ended: bool
    ) -> Token:
        visible = text.push(step.id)
        stop: StopReason | None = None
        if not text.stopped and (ended or count == sampling.max_tokens):
            visible += text.finish()
            stop = "stop" if ended else "length"
        if text.stopped:
            stop = "stop"
        logprob = step.drawn
        if logprob is None:
            logprob = self._drawn(step, sampling)
        return Token(
            id=step.id,
            text=visible,
            logprob=logprob,
            raw_logprob=step.logprob,
            top=tuple((c.id, c.logprob) for c in step.top_logprobs[: sampling.top_logprobs]),
            stop=stop,
        )

    def _drawn(self, step: _Step, sampling: Sampling) -> float:
        size = self._candidates(sampling)
        candidates = [(c.id, c.logprob) for c in step.top_logprobs[:size]]
        if all(i != step.id for i, _ in candidates):  # equal at the edge of the top-k
            candidates[-1:] = [(step.id, step.logprob)]
        return sampling_logprob(
            candidates,
            step.id,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            min_p=sampling.min_p,
        )

    def _candidates(self, sampling: Sampling) -> int:
        if sampling.temperature <= 0:
            return 1
        return min(sampling.top_k or self._settings.candidates, MAX_CANDIDATES)

    async def _steps(
        self, child: LlamaProcess, ids: list[int], sampling: Sampling, done: int
    ) -> AsyncGenerator[tuple[_Step, bool]]:
        """The steps of one request, each with whether it was an end-of-text token."""
        size = self._candidates(sampling)
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
        held: _Step | None = None
        try:
            async with child.request("POST", "/completion", request) as response:
                if response.status != 200:
                    raise _refusal(child.checkpoint_id, response.status, await response.text())
                async for line in response.content:
                    event = _event(line)
                    if event is None:
                        continue
                    if event.error is not None:
                        raise EngineError(f"{child.checkpoint_id}: {event.error}")
                    for step in event.completion_probabilities:
                        if held is not None:
                            yield held, False
                        held = step
                        # Only a special token can be the end of text; the next event says.
                        if step.id not in self._special:
                            held = None
                            yield step, False
                    if event.stop:
                        if held is not None:
                            yield held, event.stop_type == "eos"
                        return
        except (aiohttp.ClientError, ConnectionError, TimeoutError) as error:
            raise _Interrupted(repr(error)) from error
        raise _Interrupted("the answer broke off")

    async def _guided_steps(
        self, child: LlamaProcess, ids: list[int], draws: GuidedDraws
    ) -> AsyncGenerator[tuple[_Step, bool]]:
        """As ``_steps``, one request a step; the prompt cache makes a step cost one token."""

        async def ask(how: dict[str, Any]) -> list[_Candidate]:
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
                    event = _decode_event(await response.read())
            except (aiohttp.ClientError, ConnectionError, TimeoutError) as error:
                raise _Interrupted(repr(error)) from error
            (step,) = event.completion_probabilities
            return [_Candidate(step.id, step.logprob), *step.top_logprobs]

        ids = list(ids)
        while True:
            token, drawn, raw, top = await draws.draw(ask)
            ids.append(token)
            alternatives = [_Candidate(*candidate) for candidate in top]
            yield _Step(token, raw, alternatives, drawn), token in self._ends


def _event(line: bytes) -> _Event | None:
    kind, _, data = line.strip().partition(b":")
    if kind == b"error":
        return _Event(error={"message": data.decode(errors="replace")})
    return _decode_event(data) if kind == b"data" else None


def _refusal(checkpoint_id: str, status: int, body: str) -> Exception:
    try:
        message = json.loads(body)["error"]["message"]
    except (ValueError, KeyError, TypeError):
        message = body[:500]
    if status == 503:  # still reading its weights
        return _Interrupted(message)
    return EngineError(f"{checkpoint_id}: llama.cpp answered {status}: {message}")
