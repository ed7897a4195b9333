from __future__ import annotations

import asyncio
from typing import Any

import psycopg
import pytest
from tests.serve.api.doubles import Answer

from liveweights.http.application import Application
from liveweights.http.errors import ApiError
from liveweights.http.hosts import Hosts
from liveweights.http.metrics import RequestMetrics
from liveweights.http.routes import Route
from liveweights.http.wire import reply
from liveweights.meter.limits import LimitReached


class Closing(Exception):
    pass


REFUSALS = {Closing: lambda error: ApiError(503, f"closing: {error}", code="closing")}
HOT = LimitReached("too hot", "reads", 2.5, ((b"x-left", b"0"),))


def ask(error: Exception, *, late: bool = False) -> tuple[Answer, RequestMetrics]:
    """The answer of an endpoint that raises ``error``, ``late``: after it has begun to answer."""
    answer, metrics = Answer(), RequestMetrics()

    async def endpoint(scope: Any, receive: Any, send: Any) -> None:
        if late:
            await reply(send, 200, b"half")
        raise error

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            answer.status = message["status"]
            answer.headers = {k.decode(): v.decode() for k, v in message["headers"]}
        else:
            answer.parts.append(message["body"])

    app = Application([Route("GET", "/x", endpoint)], metrics, Hosts(()), REFUSALS)
    scope = {"type": "http", "method": "GET", "path": "/x", "headers": []}
    asyncio.run(app(scope, None, send))  # type: ignore[arg-type]
    return answer, metrics


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (ApiError(404, "none", code="not_found"), 404, "not_found"),
        (HOT, 429, "rate_limit_exceeded"),
        (Closing("soon"), 503, "closing"),
        (psycopg.OperationalError("gone"), 503, "database_unavailable"),
        (KeyError("ours"), 500, None),
    ],
)
def test_every_failure_is_an_error_object_and_counted(
    error: Exception, status: int, code: str | None
) -> None:
    answer, metrics = ask(error)
    assert answer.status == status
    assert answer.error()["code"] == code
    sample = metrics.registry.get_sample_value
    labels = {"route": "/x", "status": str(status)}
    assert sample("liveweights_requests_total", labels) == 1
    assert sample("liveweights_requests_in_flight", {"route": "/x"}) == 0


def test_a_limit_says_when_to_come_back_and_which_it_was() -> None:
    answer, metrics = ask(HOT)
    assert (answer.headers["retry-after"], answer.headers["x-left"]) == ("3", "0")
    assert metrics.registry.get_sample_value(
        "liveweights_refused_requests_total", {"limit": "reads"}
    ) == 1  # fmt: skip


@pytest.mark.parametrize("error", [Closing("soon"), psycopg.OperationalError("gone"), KeyError()])
def test_an_answer_that_has_begun_is_cut_off(error: Exception) -> None:
    with pytest.raises(type(error)):
        ask(error, late=True)
