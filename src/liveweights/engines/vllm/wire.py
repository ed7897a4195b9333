"""vLLM's endpoint for tokens in and tokens out, ``/inference/v1/generate``."""

from __future__ import annotations

import binascii
import io
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from liveweights.engines.drawn import Step
from liveweights.engines.experts import Experts
from liveweights.engines.protocol import EngineError, Sampling


class _Candidate(msgspec.Struct):
    token_id: int
    logprob: float
    rank: int | None = None


class _Scored(msgspec.Struct):
    token_id: int
    logprob: float
    top_logprobs: list[_Candidate] = []


class _Logprobs(msgspec.Struct):
    content: list[_Scored] | None = None


class _Choice(msgspec.Struct):
    logprobs: _Logprobs | None = None
    finish_reason: str | None = None
    routed_experts: str | None = None


class _Error(msgspec.Struct):
    message: str


class Event(msgspec.Struct):
    """One event of a streamed answer."""

    choices: list[_Choice] = []
    error: _Error | None = None

    def steps(self, first: int | None = None) -> list[Step]:
        """The tokens that it brings, usually one.

        The answer's experts come with its last one; ``first`` is the position of the first that
        were asked for, None where none were. Raises EngineError for what are not experts.
        """
        steps = [
            _step(scored)
            for choice in self.choices
            if choice.logprobs is not None
            for scored in choice.logprobs.content or ()
        ]
        routed = next((c.routed_experts for c in self.choices if c.routed_experts), None)
        if steps and routed is not None and first is not None:
            steps[-1] = replace(steps[-1], experts=Experts(first, _read_experts(routed)))
        return steps

    @property
    def finish_reason(self) -> str | None:
        """``stop``, ``length`` or ``abort`` with the last event."""
        return next((c.finish_reason for c in self.choices if c.finish_reason), None)


_decode = msgspec.json.Decoder(Event).decode


def read_event(line: bytes) -> Event | None:
    """One line of the stream; None for what is not an event. Raises EngineError."""
    kind, _, data = line.strip().partition(b":")
    data = data.strip()
    if kind != b"data" or data == b"[DONE]":
        return None
    event = _decode(data)
    if event.error is not None:
        raise EngineError(event.error.message)
    return event


def generate_request(
    model: str,
    ids: Sequence[int],
    sampling: Sampling,
    *,
    done: int,
    candidates: int,
    seed: int,
    ends: Collection[int],
    experts_from: int | None = None,
) -> dict[str, Any]:
    """The request that goes on after ``done`` tokens, which ``ids`` ends with.

    ``experts_from`` is the first position whose experts are asked for.
    """
    return {
        "model": model,
        "token_ids": list(ids),
        "stream": True,
        "sampling_params": {
            "max_tokens": sampling.max_tokens - done,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "top_k": candidates,
            "min_p": sampling.min_p,
            "repetition_penalty": 1.0,
            "seed": seed,
            "stop_token_ids": sorted(ends),
            "logprobs": max(candidates, sampling.top_logprobs),
            "detokenize": False,
            **({} if experts_from is None else {"routed_experts_prompt_start": experts_from}),
        },
    }


def refusal(status: int, body: str) -> str:
    """What a server said when it refused."""
    try:
        error = _decode(body).error
    except msgspec.MsgspecError:
        error = None
    return error.message if error else body[:500] or f"status {status}"


def _read_experts(routed: str) -> NDArray[np.int16]:
    """Base64 of NumPy's file format, [tokens, layers, chosen]."""
    try:
        file = io.BytesIO(binascii.a2b_base64(routed))
        chosen = np.lib.format.read_array(file, allow_pickle=False)
    except (ValueError, MemoryError) as error:  # of a header that promises more than there is
        raise EngineError(f"its routed_experts are not understood: {error}") from error
    if chosen.ndim != 3 or chosen.dtype.kind not in "iu":
        raise EngineError(f"its routed_experts are {chosen.dtype} of shape {chosen.shape}")
    if chosen.size and not 0 <= chosen.min() <= chosen.max() < 2**15:
        raise EngineError(f"its routed_experts go from {chosen.min()} to {chosen.max()}")
    return chosen.astype(np.int16)


def _step(scored: _Scored) -> Step:
    # The sampled token comes first, whatever its rank, and again if it is among the best.
    best = {c.token_id: c.logprob for c in scored.top_logprobs}
    ranked = sorted(best.items(), key=lambda pair: -pair[1])
    return Step(scored.token_id, scored.logprob, tuple(ranked))
