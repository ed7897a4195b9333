"""What can be asked of any engine."""

from __future__ import annotations

from collections.abc import Container

from liveweights.engines.protocol import (
    ALL_GUIDANCE,
    EngineError,
    Guidance,
    InvalidConstraint,
    PromptTooLong,
    Sampling,
)


def check_request(prompt: int, sampling: Sampling, context_length: int) -> None:
    """Raise EngineError or PromptTooLong for what no engine can answer."""
    if not prompt:
        raise EngineError("the prompt is empty: it needs at least one token")
    if sampling.max_tokens < 1:
        raise EngineError(f"max_tokens is {sampling.max_tokens}: it must be at least 1")
    if prompt + sampling.max_tokens > context_length:
        raise PromptTooLong(
            f"{prompt} tokens of prompt and {sampling.max_tokens} of answer do not fit the "
            f"context of {context_length}: shorten the prompt or lower max_tokens"
        )


_SAID: dict[Guidance, str] = {
    "constraint": "response format or forced tool call",
    "logit_bias": "bias",
}
_NEUTRAL = Sampling()


def list_guidance(sampling: Sampling) -> list[Guidance]:
    """What of the guidance is asked for."""
    return [
        name for name in sorted(ALL_GUIDANCE) if getattr(sampling, name) != getattr(_NEUTRAL, name)
    ]


def refuse_guidance(sampling: Sampling, followed: Container[Guidance]) -> None:
    """Raise InvalidConstraint on behalf of an engine that follows only some of it."""
    asked = [_SAID.get(name, name) for name in list_guidance(sampling) if name not in followed]
    if asked:
        raise InvalidConstraint(
            f"this engine takes no {' or '.join(asked)}: the probabilities of what it drew could "
            "not be recorded; the llama, openvino, ternary and torch engines take it"
        )
