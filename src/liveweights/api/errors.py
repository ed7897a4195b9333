"""OpenAI's error object, and which error is which status."""

from __future__ import annotations

import msgspec

from liveweights.api.objects import ErrorBody, ErrorFields
from liveweights.engines.protocol import (
    EngineError,
    InvalidConstraint,
    PromptTooLong,
    UnknownCheckpoint,
)
from liveweights.record.writer import WriterClosed

RETRY = ((b"retry-after", b"1"),)
CONTEXT_EXCEEDED = "context_length_exceeded"


class ApiError(Exception):
    """Becomes ``{"error": {"message", "type", "param", "code"}}`` with ``status``."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        type: str = "invalid_request_error",
        param: str | None = None,
        code: str | None = None,
        headers: tuple[tuple[bytes, bytes], ...] = (),
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.type = type
        self.param = param
        self.code = code
        self.headers = headers

    def fields(self) -> ErrorFields:
        return ErrorFields(self.message, self.type, self.param, self.code)

    def body(self) -> bytes:
        return msgspec.json.encode(ErrorBody(self.fields()))


def bad_request(message: str, param: str | None = None, code: str | None = None) -> ApiError:
    return ApiError(400, message, param=param, code=code)


def unsupported(param: str, message: str) -> ApiError:
    return bad_request(message, param, "unsupported_parameter")


def model_not_found(model: str) -> ApiError:
    message = f"The model {model!r} does not exist here. GET /v1/models lists those that do."
    return ApiError(404, message, param="model", code="model_not_found")


def unavailable(message: str) -> ApiError:
    return ApiError(503, message, type="server_error", code="engine_unavailable", headers=RETRY)


def database_away(what: str = "It cannot be looked up") -> ApiError:
    message = f"{what} at the moment: the database is away."
    code = "database_unavailable"
    return ApiError(503, message, type="server_error", code=code, headers=RETRY)


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


def internal() -> ApiError:
    return ApiError(500, "An error inside the server; its log says more.", type="server_error")


def shutting_down(error: WriterClosed) -> ApiError:
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
