"""What an OpenAPI 3.1 document is made of: the structs that are decoded and sent.

The format: https://spec.openapis.org/oas/v3.1.0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

import msgspec

from liveweights.http.errors import ErrorBody

JSON, EVENTS = "application/json", "text/event-stream"
WHY = {
    400: "The request is not understood, or asks for what is not supported; `param` names it.",
    401: "The API key is missing or unknown.",
    403: "The API key is not for this, or the rules of use deny it; the message says which.",
    404: "There is no such model, answer or path.",
    408: "The answer was not complete at the request's deadline, or takes the database too long.",
    409: "The id, or the name, was used before for something else.",
    413: "The body is too large.",
    415: "The body is not sent as JSON.",
    421: "The service is not known under the name in the `Host` header.",
    422: "Some of the batch was not recorded (`data` says which); or no model fits what `route` "
    "asks (the message says which rule removed which model).",
    429: "A limit of the key, or the queue, is full; `retry-after` says when to come again.",
    502: "The server behind does not answer.",
    503: "No engine can answer now, or the server is shutting down.",
}


@dataclass(frozen=True, slots=True)
class Operation:
    """``events`` is what a stream consists of, whose pieces are of the types ``chunks``; its text
    stands in the description. ``headers`` are those that say more about a request. One that is
    ``passed`` on is answered as the server behind it likes."""

    method: str
    path: str
    summary: str
    answers: tuple[Any, ...] = ()
    requests: tuple[Any, ...] = ()
    statuses: tuple[int, ...] = (200,)
    errors: tuple[int, ...] = (400, 401)
    events: str | None = None
    chunks: tuple[Any, ...] = ()
    headers: Mapping[str, Header] = field(default_factory=dict[str, "Header"])
    query: Mapping[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    operator: bool = False
    passed: bool = False


Header = tuple[str, dict[str, Any]]
"""What it says, and which values it has."""
ALWAYS = (421,)
_NAMES = ("id", "model", "tenant", "key")
"""Parameters that stand in paths."""


def write_document(operations: Sequence[Operation], about: str) -> bytes:
    """The OpenAPI 3.1 document, as JSON; ``about`` says what the whole is."""
    types = [t for o in operations for t in (*o.answers, *o.requests, *o.chunks)]
    types.append(ErrorBody)
    schemas, components = msgspec.json.schema_components(
        types, ref_template="#/components/schemas/{name}"
    )
    by_type = dict(zip(map(repr, types), schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method] = _describe(operation, by_type)
    described = {
        "openapi": "3.1.0",
        "info": {
            "title": "liveweights",
            "version": version("liveweights"),
            "description": about,
        },
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer"},
                "operator": {"type": "http", "scheme": "bearer"},
            },
        },
        "security": [{}, {"key": []}],
    }
    return msgspec.json.encode(described)


_ANYTHING: dict[str, Any] = {JSON: {}, "*/*": {}}
_PASSED = {"default": {"description": "What the server behind answers.", "content": _ANYTHING}}


def _one_of(types: tuple[Any, ...], schemas: dict[str, Any]) -> dict[str, Any]:
    found = [schemas[repr(type)] for type in types]
    return found[0] if len(found) == 1 else {"anyOf": found}


def _describe(operation: Operation, schemas: dict[str, Any]) -> dict[str, Any]:
    responses: dict[str, Any] = dict(_PASSED) if operation.passed else {}
    for status in operation.statuses:
        content: dict[str, Any] = {JSON: {"schema": _one_of(operation.answers, schemas)}}
        description = WHY.get(status, "The answer.")
        if operation.events is not None:
            content[EVENTS] = {}
            description += f" With `stream`: {operation.events}."
        responses[str(status)] = {"description": description, "content": content}
    for status in (*operation.errors, *ALWAYS):
        error = {JSON: {"schema": schemas[repr(ErrorBody)]}}
        # The server behind may say the same in its own words.
        content = _ANYTHING if operation.passed else error
        responses[str(status)] = {"description": WHY[status], "content": content}
    if operation.path == "/healthz":
        responses["503"] = responses["200"] | {"description": "It could not, and why."}
    found: dict[str, Any] = {"summary": operation.summary, "responses": responses}
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in _NAMES
        if f"{{{name}}}" in operation.path
    ]
    parameters += [
        {"name": name, "in": "query", "schema": schema} for name, schema in operation.query.items()
    ]
    if operation.operator:
        found["security"] = [{"operator": []}]
    for name, (text, schema) in operation.headers.items():
        full = {"type": "string"} | schema
        parameters.append({"name": name, "in": "header", "description": text, "schema": full})
    if parameters:
        found["parameters"] = parameters
    if operation.passed and operation.method == "post":
        found["requestBody"] = {"content": _ANYTHING}
    if operation.requests:
        content = {JSON: {"schema": _one_of(operation.requests, schemas)}}
        found["requestBody"] = {"required": True, "content": content}
    return found
