"""Serving with vLLM: one or more servers, one immutable adapter name per checkpoint."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec

from liveweights.engines.context import choose_context
from liveweights.engines.drawn import Step, candidate_count
from liveweights.engines.limits import check_request, refuse_guidance
from liveweights.engines.lines import read_lines
from liveweights.engines.protocol import (
    EngineError,
    Guidance,
    Sampling,
    Token,
    UnknownCheckpoint,
)
from liveweights.engines.resumed import Interrupted, generate_resumed
from liveweights.engines.settings import EngineSettings, VllmSettings
from liveweights.engines.text import TextStream
from liveweights.engines.vllm.process import VllmProcess
from liveweights.engines.vllm.replica import AWAY, START_SECONDS, Replica
from liveweights.engines.vllm.wire import generate_request, read_event, refusal
from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.models import end_of_text_ids, is_mixture, load_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

RETURN_SECONDS = 5.0
"""How long a request waits for a server to come back when none is in."""
GUIDANCE: frozenset[Guidance] = frozenset({"min_p"})
"""What it takes after temperature and says of each token is enough to tell how it was drawn. Of
penalties it is not: they act on logits that vLLM does not say, of tokens that may lie outside the
candidates."""
_TOLERANCE = {"float32": 0.02, "bfloat16": 0.1}


class VllmEngine:
    """``Engine`` on vLLM.

    A checkpoint is loaded on every server that is in, and is resident as soon as one has it. A
    server that dies is taken out, and comes back with the adapters that are wanted by then. An
    answer that it was computing goes on elsewhere from the tokens that it had. Tokens are drawn
    from at most ``MAX_CANDIDATES`` candidates, which all come back, so that recorded
    probabilities are exact.

    A server that was started with ``--enable-return-routed-experts`` says which experts of a
    mixture it used when an answer is complete. Those of an answer that it did not compute alone
    are not known.

    vLLM keys its prefix cache by the adapter's name. Names are content hashes and are never
    reused, so that no answer continues from what another checkpoint computed.
    """

    def __init__(
        self,
        base: Checkpoint,
        settings: EngineSettings | None = None,
        vllm: VllmSettings | None = None,
        tokenizer: PreTrainedTokenizerBase | None = None,
    ) -> None:
        self._base = base
        self._settings = settings or EngineSettings(kind="vllm")
        self._tokenizer = tokenizer or load_tokenizer(base)
        self._ends = end_of_text_ids(base, self._tokenizer)
        self._mixture = is_mixture(base.folder)
        self._wanted: dict[str, Checkpoint] = {}
        self._active: Counter[str] = Counter()
        self._changed = asyncio.Event()
        self._loads = asyncio.Lock()
        self._started = False
        self._replicas = self._make_replicas(vllm or VllmSettings())

    def _make_replicas(self, vllm: VllmSettings) -> list[Replica]:
        given = self._settings.context_length
        if vllm.servers:
            length = given or choose_context(self._base, 0, rows=1, memory=0)
            return [
                Replica(
                    length,
                    self._wanted,
                    self._changed,
                    exact=bool(given),
                    address=address,
                    key=vllm.key,
                )
                for address in vllm.servers
            ]
        length = given or choose_context(self._base, 2, rows=1, memory=vllm.kv_cache_gib << 30)
        settings = msgspec.structs.replace(self._settings, context_length=length)
        processes = [VllmProcess(self._base, settings, vllm) for _ in range(vllm.replicas)]
        return [
            Replica(length, self._wanted, self._changed, process=process) for process in processes
        ]

    @property
    def context_length(self) -> int:
        """Tokens of prompt and answer together: what every server takes, as far as is known."""
        return min(replica.context_length for replica in self._replicas)

    @property
    def tolerance(self) -> float:
        """Mean absolute difference in nats between raw log-probabilities here and in float32."""
        return _TOLERANCE[self._settings.dtype]

    @property
    def replicas(self) -> Sequence[Replica]:
        """The servers, in or out."""
        return self._replicas

    @property
    def guidance(self) -> frozenset[Guidance]:
        """What it follows that changes the distribution that a token is drawn from."""
        return GUIDANCE

    def resident(self) -> frozenset[str]:
        """Ids of the checkpoints that some server can answer for now."""
        return frozenset(id for id, checkpoint in self._wanted.items() if self._holders(checkpoint))

    async def active(self, checkpoint_id: str) -> int:
        """How many answers of the checkpoint are being computed."""
        return self._active[checkpoint_id]

    async def load(self, checkpoint: Checkpoint, base: Checkpoint | None = None) -> None:
        """Make ``checkpoint`` resident; see ``Engine.load``."""
        if (checkpoint.kind == "adapter") != (base is not None):
            raise EngineError(f"{checkpoint.id}: a base is given exactly with an adapter")
        whole = base or checkpoint
        if whole.id != self._base.id:
            raise EngineError(
                f"{checkpoint.id}: these servers hold {self._base.id} and adapters on it, not "
                f"{whole.id}"
            )
        if not self._started:
            self._started = True
            for replica in self._replicas:
                replica.start()
        await self._until_one_is_in()
        async with self._loads:
            if checkpoint.id in self.resident():
                return
            try:
                await self._load_everywhere(checkpoint)
            except EngineError:
                await self._forget(checkpoint.id)
                raise

    async def _load_everywhere(self, checkpoint: Checkpoint) -> None:
        # Wanted first: a server that comes in meanwhile must not come in without it.
        self._wanted[checkpoint.id] = checkpoint
        if checkpoint.kind != "adapter":
            return
        ready = [replica for replica in self._replicas if replica.ready]
        outcomes = await asyncio.gather(
            *(replica.load(checkpoint) for replica in ready), return_exceptions=True
        )
        for replica, error in zip(ready, outcomes, strict=True):
            if isinstance(error, AWAY):
                replica.lose()  # it is given the adapter when it comes back
            elif error is not None:
                raise error
        if not self._holders(checkpoint):
            raise EngineError(f"{checkpoint.id}: no vLLM server is left to load it")

    async def unload(self, checkpoint_id: str) -> None:
        """Free the checkpoint's memory; see ``Engine.unload``."""
        async with self._loads:
            await self._forget(checkpoint_id)

    async def _forget(self, checkpoint_id: str) -> None:
        self._wanted.pop(checkpoint_id, None)
        ready = [replica for replica in self._replicas if replica.ready]
        outcomes = await asyncio.gather(
            *(replica.unload(checkpoint_id) for replica in ready), return_exceptions=True
        )
        for replica, error in zip(ready, outcomes, strict=True):
            if isinstance(error, AWAY):
                replica.lose()
            elif error is not None:
                raise error

    async def close(self) -> None:
        """End our own servers; leave those of others with what is loaded there."""
        await asyncio.gather(*(replica.close() for replica in self._replicas))
        self._wanted.clear()

    async def generate(
        self, checkpoint_id: str, prompt_ids: Sequence[int], sampling: Sampling
    ) -> AsyncGenerator[Token]:
        """Sample an answer, token by token; see ``Engine.generate``."""
        checkpoint = self._wanted.get(checkpoint_id)
        if checkpoint is None:
            raise UnknownCheckpoint(f"{checkpoint_id} is not resident on this engine")
        check_request(len(prompt_ids), sampling, self.context_length)
        refuse_guidance(sampling, GUIDANCE)
        text = TextStream(self._tokenizer, sampling.stop, sampling.skip)
        size = candidate_count(sampling, self._settings.candidates)

        async def attempt(done: Sequence[int]) -> AsyncGenerator[tuple[Step, bool]]:
            replica = await self._pick(checkpoint)
            ids = [*prompt_ids, *done]
            steps = self._steps(replica, checkpoint, ids, sampling, done=len(done), size=size)
            try:
                async with aclosing(steps):
                    async for step in steps:
                        experts = step.experts
                        if experts and not experts.serves(len(prompt_ids), len(done) + 1):
                            step = replace(step, experts=None)
                        yield step, step.id in self._ends
            except Interrupted:
                replica.lose()
                raise

        tokens = generate_resumed(checkpoint_id, attempt, sampling, text, candidates=size)
        self._active[checkpoint_id] += 1
        try:
            async with aclosing(tokens):
                async for token in tokens:
                    yield token
        finally:
            self._active[checkpoint_id] -= 1

    async def _steps(
        self,
        replica: Replica,
        checkpoint: Checkpoint,
        ids: Sequence[int],
        sampling: Sampling,
        *,
        done: int,
        size: int,
    ) -> AsyncGenerator[Step]:
        """The steps of one request to one server. Raises Interrupted, EngineError."""
        seed = random.getrandbits(31) if sampling.seed is None else sampling.seed + done
        # What was computed for tokens that another request sampled did not serve them.
        first = len(ids) - 1 if self._mixture and not done else None
        body = generate_request(
            replica.model(checkpoint),
            ids,
            sampling,
            done=done,
            candidates=size,
            seed=seed & 0x7FFFFFFF,
            ends=self._ends,
            experts_from=first,
        )
        replica.answers += 1
        try:
            async with replica.request("POST", "/inference/v1/generate", body) as response:
                if response.status != 200:
                    raise _refused(replica, response.status, await response.text())
                async for line in read_lines(response.content.iter_any()):
                    event = read_event(line)
                    if event is None:
                        continue
                    for step in event.steps(first):
                        yield step
                    if event.finish_reason == "abort":
                        raise Interrupted(f"{replica.name} gave the answer up")
        except AWAY as error:
            raise Interrupted(f"{replica.name}: {error!r}") from error
        except (msgspec.MsgspecError, UnicodeError) as error:
            raise EngineError(f"{replica.name} is not understood: {error}") from error
        finally:
            replica.answers -= 1
        raise Interrupted(f"{replica.name} ended the answer early")

    def _holders(self, checkpoint: Checkpoint) -> list[Replica]:
        return [replica for replica in self._replicas if replica.holds(checkpoint)]

    async def _pick(self, checkpoint: Checkpoint) -> Replica:
        """The server with the fewest answers. Raises EngineError if none comes back soon."""
        try:
            async with asyncio.timeout(RETURN_SECONDS):
                while not (holders := self._holders(checkpoint)):
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            why = "; ".join(replica.error for replica in self._replicas if replica.error)
            raise EngineError(
                f"{checkpoint.id}: no vLLM server can answer{': ' + why if why else ''}"
            ) from None
        return min(holders, key=lambda replica: replica.answers)

    async def _until_one_is_in(self) -> None:
        async with asyncio.timeout(START_SECONDS):
            while not any(replica.ready for replica in self._replicas):
                if all(replica.failures for replica in self._replicas):
                    raise EngineError("; ".join(replica.error for replica in self._replicas))
                self._changed.clear()
                await self._changed.wait()


def _refused(replica: Replica, status: int, body: str) -> Exception:
    why = refusal(status, body)
    if status in (404, 503) or status >= 500:
        # 404: it has forgotten the adapter, for it is not the server that it was.
        return Interrupted(f"{replica.name}: {why}")
    return EngineError(f"{replica.name}: {why}")
