"""OpenAI's error object, and what anything that speaks HTTP may have to refuse."""

from __future__ import annotations

import math
from typing import TypeVar

import msgspec

from liveweights.meter.limits import LimitReached

T = TypeVar("T")
RETRY = ((b"retry-after", b"1"),)


class ErrorFields(msgspec.Struct):
    message: str
    type: str
    param: str | None
    code: str | None


class ErrorBody(msgspec.Struct):
    error: ErrorFields


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


def need(value: T | None, where: str) -> T:
    """Raises ApiError 400 for a parameter that is not there."""
    if value is None:
        message = f"Missing required parameter: '{where}'."
        raise bad_request(message, where, "missing_required_parameter")
    return value


def too_many(
    message: str,
    kind: str,
    wait: float,
    headers: tuple[tuple[bytes, bytes], ...] = (),
    *,
    code: str = "rate_limit_exceeded",
) -> ApiError:
    """429, with how many whole seconds to wait."""
    retry = (b"retry-after", str(max(1, math.ceil(wait))).encode())
    return ApiError(429, message, type=kind, code=code, headers=(retry, *headers))


def limit_reached(error: LimitReached) -> ApiError:
    return too_many(str(error), error.name, error.wait, error.headers, code=error.code)


def database_away(what: str = "It cannot be looked up") -> ApiError:
    message = f"{what} at the moment: the database is away."
    code = "database_unavailable"
    return ApiError(503, message, type="server_error", code=code, headers=RETRY)


def internal() -> ApiError:
    return ApiError(500, "An error inside the server; its log says more.", type="server_error")
