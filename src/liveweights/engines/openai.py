"""Serving with any OpenAI-compatible server: one fixed checkpoint, answers as text."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncGenerator, Sequence
from typing import TYPE_CHECKING, Any

import aiohttp
import msgspec

from liveweights.engines.context import choose_context
from liveweights.engines.limits import check_request, refuse_guidance
from liveweights.engines.lines import read_lines
from liveweights.engines.protocol import (
    EngineError,
    Guidance,
    Sampling,
    StopReason,
    Token,
    UnknownCheckpoint,
)
from liveweights.engines.settings import EngineSettings, OpenAISettings
from liveweights.engines.text import TextStream
from liveweights.http.proxies import find_proxy
from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.models import end_of_text_ids, load_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

UNKNOWN = float("nan")
GUIDANCE: frozenset[Guidance] = frozenset(
    {"frequency_penalty", "presence_penalty", "repetition_penalty", "min_p"}
)
"""No log-probability is recorded that these could make wrong."""
_UNCHANGED: dict[str, float] = {
    "frequency_penalty": 0.0,
    "presence_penalty": 0.0,
    "repetition_penalty": 1.0,
    "min_p": 0.0,
}


class _Choice(msgspec.Struct):
    text: str | None = None
    finish_reason: str | None = None


class _Event(msgspec.Struct):
    choices: list[_Choice] = []
    error: Any = None


class _Card(msgspec.Struct):
    id: str


class _Cards(msgspec.Struct):
    data: list[_Card]


_decode = msgspec.json.Decoder(_Event).decode


class OpenAIEngine:
    """``Engine`` on ``/v1/completions`` of somebody else's server, e.g. SGLang.

    It serves the base and nothing else, so candidates are learnt but cannot be released here.
    The server gives text: its token ids are those that our tokenizer makes of each piece, and
    its log-probabilities are not known (NaN, recorded as none). Stop strings are looked for
    here, so that a ``stop`` of the server can only be an end of text. Each piece is passed on when
    the next one comes: only then is it known not to be the last.
    """

    def __init__(
        self,
        base: Checkpoint,
        settings: EngineSettings | None = None,
        openai: OpenAISettings | None = None,
        tokenizer: PreTrainedTokenizerBase | None = None,
    ) -> None:
        self._base = base
        self._settings = settings or EngineSettings(kind="openai")
        self._openai = openai or OpenAISettings()
        # Its memory is the server's.
        self._context_length = self._settings.context_length or choose_context(
            base, 0, rows=1, memory=0
        )
        self._tokenizer = tokenizer or load_tokenizer(base)
        self._ends = end_of_text_ids(base, self._tokenizer)
        self._address = self._openai.server.rstrip("/").removesuffix("/v1")
        self._session: aiohttp.ClientSession | None = None
        self._model = ""
        self._active = 0

    @property
    def context_length(self) -> int:
        """Tokens of prompt and answer together."""
        return self._context_length

    @property
    def tolerance(self) -> float:
        """Nothing is known of the server's precision, and no log-probability is compared."""
        return float("inf")

    @property
    def guidance(self) -> frozenset[Guidance]:
        """What it passes on that changes the distribution that a token is drawn from."""
        return GUIDANCE

    def resident(self) -> frozenset[str]:
        """The base, once the server has answered."""
        return frozenset({self._base.id} if self._model else ())

    async def active(self, checkpoint_id: str) -> int:
        """How many answers the server is computing for us."""
        return self._active if checkpoint_id == self._base.id else 0

    async def load(self, checkpoint: Checkpoint, base: Checkpoint | None = None) -> None:
        """See that the server answers; any checkpoint but the base is refused."""
        if checkpoint.id != self._base.id:
            raise EngineError(
                f"{checkpoint.id} cannot be loaded: {self._address} serves one fixed checkpoint. "
                'Serve with engine.kind "vllm", "llama" or "torch" to release what is learnt'
            )
        if self._session is None:
            key = self._openai.key
            self._session = aiohttp.ClientSession(
                base_url=self._address,
                headers={"Authorization": f"Bearer {key}"} if key else None,
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=4),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=10),
                proxy=find_proxy(self._address),
            )
        try:
            async with self._session.get("/v1/models") as response:
                response.raise_for_status()
                cards = msgspec.json.decode(await response.read(), type=_Cards).data
        except (aiohttp.ClientError, TimeoutError, msgspec.MsgspecError) as error:
            raise EngineError(f"{self._address} cannot be used: {error or repr(error)}") from error
        names = [card.id for card in cards]
        wanted = self._openai.model
        if not names or (wanted and wanted not in names):
            raise EngineError(f"{self._address} serves {names}, not {wanted or 'any model'!r}")
        self._model = wanted or names[0]

    async def unload(self, checkpoint_id: str) -> None:
        """The server keeps what it has; we stop asking it."""
        if checkpoint_id == self._base.id:
            self._model = ""

    async def close(self) -> None:
        """Close the connections."""
        self._model = ""
        if self._session is not None:
            await self._session.close()

    async def generate(
        self, checkpoint_id: str, prompt_ids: Sequence[int], sampling: Sampling
    ) -> AsyncGenerator[Token]:
        """Sample an answer, piece by piece; see ``Engine.generate``."""
        if checkpoint_id != self._base.id or not self._model:
            raise UnknownCheckpoint(f"{checkpoint_id} is not resident on this engine")
        check_request(len(prompt_ids), sampling, self.context_length)
        refuse_guidance(sampling, GUIDANCE)
        text = TextStream(self._tokenizer, sampling.stop, sampling.skip)
        held: Token | None = None  # it may turn out to be the last
        reason: str | None = None
        self._active += 1
        try:
            async for choice in self._choices(prompt_ids, sampling):
                reason = choice.finish_reason or reason
                if not choice.text:
                    continue
                visible = text.push_text(choice.text)
                if text.stopped:
                    reason = "stop string"
                ids: list[int] = self._tokenizer.encode(choice.text, add_special_tokens=False)
                for place, id in enumerate(ids):
                    if held is not None:
                        yield held
                    shown = visible if place == len(ids) - 1 else ""
                    held = Token(id, shown, UNKNOWN, UNKNOWN)
                if text.stopped:
                    break
        finally:
            self._active -= 1
        if reason is None:
            raise EngineError(f"{self._address} broke off its answer")
        rest = text.finish()
        if held is not None and reason in ("length", "stop string"):
            stop: StopReason = "length" if reason == "length" else "stop"
            yield dataclasses.replace(held, text=held.text + rest, stop=stop)
            return
        if held is not None:
            yield held
        yield Token(min(self._ends), rest, UNKNOWN, UNKNOWN, (), "stop")

    async def _choices(
        self, prompt_ids: Sequence[int], sampling: Sampling
    ) -> AsyncGenerator[_Choice]:
        """The pieces of one answer. Raises EngineError."""
        assert self._session is not None
        prompt: Any = list(prompt_ids)
        if self._openai.prompt == "text":
            prompt = self._tokenizer.decode(prompt, skip_special_tokens=False)
        body = {
            "model": self._model,
            "prompt": prompt,
            "max_tokens": sampling.max_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "stream": True,
        }
        # Not every server takes what OpenAI does not: it is sent only where it was asked for.
        body |= {
            n: value for n, same in _UNCHANGED.items() if (value := getattr(sampling, n)) != same
        }
        body |= {"seed": sampling.seed} if sampling.seed is not None else {}
        body |= {"top_k": sampling.top_k} if sampling.top_k else {}
        try:
            response = await self._session.post("/v1/completions", json=body)
            try:
                if response.status != 200:
                    message = (await response.text())[:500]
                    raise EngineError(f"{self._address} answered {response.status}: {message}")
                async for line in read_lines(response.content.iter_any()):
                    kind, _, data = line.strip().partition(b":")
                    data = data.strip()
                    if kind != b"data" or data == b"[DONE]":
                        continue
                    event = _decode(data)
                    if event.error is not None:
                        raise EngineError(f"{self._address}: {event.error}")
                    for choice in event.choices[:1]:
                        yield choice
            finally:
                response.close()  # of a half-read answer: the server stops computing it
        except (aiohttp.ClientError, ConnectionError, TimeoutError) as error:
            raise EngineError(f"{self._address} cannot be reached: {error!r}") from error
        except (msgspec.MsgspecError, UnicodeError) as error:
            raise EngineError(f"{self._address} is not understood: {error}") from error
