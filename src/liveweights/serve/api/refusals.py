"""What is said where a model cannot answer, and what the rest of the service raises as such."""

from __future__ import annotations

from liveweights.engines.protocol import (
    EngineError,
    InvalidConstraint,
    PromptTooLong,
    UnknownCheckpoint,
)
from liveweights.http.application import Refusals
from liveweights.http.errors import RETRY, ApiError, bad_request
from liveweights.record.errors import WriterClosed

CONTEXT_EXCEEDED = "context_length_exceeded"


def model_not_found(model: str) -> ApiError:
    message = f"The model {model!r} does not exist here. GET /v1/models lists those that do."
    return ApiError(404, message, param="model", code="model_not_found")


def unavailable(message: str) -> ApiError:
    return ApiError(503, message, type="server_error", code="engine_unavailable", headers=RETRY)


def context_exceeded(prompt: int, answer: int, context: int, param: str) -> ApiError:
    message = (
        f"This model's context is {context} tokens, but {prompt + answer} were asked for: "
        f"{prompt} of prompt and {answer} of answer. Shorten the prompt or lower max_tokens."
    )
    return bad_request(message, param, CONTEXT_EXCEEDED)


def prompt_exceeds(fewest: int, context: int, param: str) -> ApiError:
    message = (
        f"This model's context is {context} tokens, but the prompt alone has {fewest} or more. "
        "Shorten the prompt."
    )
    return bad_request(message, param, CONTEXT_EXCEEDED)


def shutting_down(error: Exception) -> ApiError:
    message = f"The server is shutting down: {error}."
    return ApiError(503, message, type="server_error", code="shutting_down", headers=RETRY)


def from_engine(error: EngineError) -> ApiError:
    # A KeyError's str() is the repr of its message.
    message = str(error.args[0]) if error.args else type(error).__name__
    if isinstance(error, PromptTooLong):
        return bad_request(message, "prompt", CONTEXT_EXCEEDED)
    if isinstance(error, InvalidConstraint):
        return bad_request(message, code="invalid_value")
    if isinstance(error, UnknownCheckpoint):
        return unavailable(f"The model's checkpoint is not loaded at the moment: {message}")
    return unavailable(f"The engine could not answer: {message}")


REFUSALS: Refusals = {WriterClosed: shutting_down}
"""For the error boundary of whoever writes into the record."""
