"""What can be asked of any engine."""

from __future__ import annotations

from liveweights.engines.penalties import make_penalties
from liveweights.engines.protocol import EngineError, InvalidConstraint, PromptTooLong, Sampling


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


def refuse_guidance(sampling: Sampling) -> None:
    """Raise InvalidConstraint on behalf of an engine whose sampling cannot be guided exactly."""
    if sampling.logit_bias or sampling.constraint or sampling.min_p or _penalised(sampling):
        raise InvalidConstraint(
            "this engine takes no bias, penalty, min_p, response format or forced tool call: the "
            "probabilities of what it drew could not be recorded; the llama, openvino and torch "
            "engines take them"
        )


def _penalised(sampling: Sampling) -> bool:
    return make_penalties(sampling, ()) is not None
