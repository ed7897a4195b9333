"""GET /openapi.json: the API's own description, made from the structs that it decodes and sends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import version
from typing import Any

import msgspec
from starlette.types import Receive, Scope, Send

from liveweights.http.errors import ErrorBody
from liveweights.http.exchange import TIMEOUT
from liveweights.http.wire import reply
from liveweights.meter.key_rows import KeyRow
from liveweights.meter.tenants import Tenant
from liveweights.serve.admin.objects import (
    KeyList,
    MadeKey,
    NewCredit,
    NewKey,
    NewTenant,
    RemovedTenant,
    Revocation,
    Rotation,
    TenantChange,
    TenantList,
)
from liveweights.serve.api.admission import STRICT
from liveweights.serve.api.caller import LANGUAGE, LONGEST, SESSION, SURFACE
from liveweights.serve.api.chat import ChatRequest
from liveweights.serve.api.completions import CompletionRequest
from liveweights.serve.api.editors import InfillAnswer, InfillRequest
from liveweights.serve.api.feedback import FeedbackBatch, FeedbackRequest
from liveweights.serve.api.key import KeyState
from liveweights.serve.api.objects import (
    ChatCompletion,
    ChatCompletionChunk,
    Completion,
    EpisodeObject,
    FeedbackList,
    FeedbackResult,
    GenerationObject,
    Model,
    ModelList,
)
from liveweights.serve.api.responses.conversations import (
    AddedItems,
    ConversationChange,
    ConversationObject,
    DeletedConversation,
    ItemList,
    NewConversation,
)
from liveweights.serve.api.responses.objects import DeletedResponse, Response
from liveweights.serve.api.responses.request import ResponsesRequest
from liveweights.serve.api.usage import LATEST, CostPage, UsagePage

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
    503: "No engine can answer now, or the server is shutting down.",
}


@dataclass(frozen=True, slots=True)
class Operation:
    """``events`` is what a stream consists of; its text stands in the description."""

    method: str
    path: str
    summary: str
    answers: tuple[Any, ...] = ()
    requests: tuple[Any, ...] = ()
    statuses: tuple[int, ...] = (200,)
    errors: tuple[int, ...] = (400, 401)
    events: str | None = None
    generates: bool = False
    query: Mapping[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    operator: bool = False


ALWAYS = (421,)
ADMIN = (400, 401, 404, 408, 409, 413, 415, 429, 503)
OPERATORS = (
    Operation(
        "get",
        "/admin/tenants",
        "The tenants that are stored.",
        (TenantList,),
        errors=ADMIN,
        operator=True,
    ),
    Operation(
        "post",
        "/admin/tenants",
        "Make a tenant.",
        (Tenant,),
        (NewTenant,),
        statuses=(201,),
        errors=ADMIN,
        operator=True,
    ),
    Operation(
        "get", "/admin/tenants/{tenant}", "One tenant.", (Tenant,), errors=ADMIN, operator=True
    ),
    Operation(
        "patch",
        "/admin/tenants/{tenant}",
        "Change some of what is set about a tenant.",
        (Tenant,),
        (TenantChange,),
        errors=ADMIN,
        operator=True,
    ),
    Operation(
        "delete",
        "/admin/tenants/{tenant}",
        "End a tenant: its keys are revoked, its rows stay.",
        (RemovedTenant,),
        errors=ADMIN,
        operator=True,
    ),
    Operation(
        "post",
        "/admin/tenants/{tenant}/credit",
        "Say what a tenant has paid in advance.",
        (Tenant,),
        (NewCredit,),
        errors=ADMIN,
        operator=True,
    ),
    Operation(
        "get",
        "/admin/keys",
        "The keys that are stored, without what would open anything.",
        (KeyList,),
        errors=ADMIN,
        query={"tenant": {"type": "string"}},
        operator=True,
    ),
    Operation(
        "post",
        "/admin/keys",
        "Make a key; it is told this once.",
        (MadeKey,),
        (NewKey,),
        statuses=(201,),
        errors=ADMIN,
        operator=True,
    ),
    Operation("get", "/admin/keys/{key}", "One key.", (KeyRow,), errors=ADMIN, operator=True),
    Operation(
        "post",
        "/admin/keys/{key}/rotate",
        "Give a key another secret; it is told this once.",
        (MadeKey,),
        (Rotation,),
        errors=ADMIN,
        operator=True,
    ),
    Operation(
        "post",
        "/admin/keys/{key}/revoke",
        "End a key.",
        (KeyRow,),
        (Revocation,),
        errors=ADMIN,
        operator=True,
    ),
)
"""There where an operator's key is set."""
USAGE = (400, 401, 403, 408, 429, 503)


def _page(*widths: str, most: int, keys: str) -> dict[str, dict[str, Any]]:
    """The query of a page of buckets."""
    second: dict[str, Any] = {"type": "integer", "minimum": 0, "maximum": LATEST}
    return {
        "start_time": second | {"description": "Seconds since 1970; its bucket is the first."},
        "end_time": second | {"description": "Seconds since 1970, without it: now."},
        "bucket_width": {"enum": [*widths], "default": "1d"},
        "group_by": {"type": "string", "description": f"Among {keys}, several with commas."},
        "limit": {"type": "integer", "minimum": 1, "maximum": most, "description": "Buckets."},
        "page": second | {"description": "The `next_page` of the page before."},
    }


CONVERSATION = (400, 401, 403, 404, 413, 415, 429, 503)
GENERATION = (400, 401, 403, 404, 408, 413, 415, 422, 429, 503)
OPERATIONS = (
    Operation(
        "post",
        "/v1/chat/completions",
        "Answer a conversation.",
        (ChatCompletion,),
        (ChatRequest,),
        errors=GENERATION,
        events="`data: ` and a ChatCompletionChunk for each piece, then `data: [DONE]`",
        generates=True,
    ),
    Operation(
        "post",
        "/v1/completions",
        "Continue a text, or fill its middle.",
        (Completion,),
        (CompletionRequest,),
        errors=GENERATION,
        events="`data: ` and a Completion for each piece, then `data: [DONE]`",
        generates=True,
    ),
    Operation(
        "post",
        "/v1/responses",
        "Answer in a conversation that the server keeps.",
        (Response,),
        (ResponsesRequest,),
        errors=GENERATION,
        events="OpenAI's `response.*` events",
        generates=True,
    ),
    Operation(
        "post",
        "/infill",
        "Fill the middle of a file, as llama.cpp's server does.",
        (InfillAnswer,),
        (InfillRequest,),
        errors=GENERATION,
        events="`data: ` and the next piece as `content`, the last with `stop`",
        generates=True,
    ),
    Operation(
        "get",
        "/v1/responses/{id}",
        "A stored response.",
        (Response,),
        errors=(400, 401, 403, 404, 503),
    ),
    Operation(
        "delete",
        "/v1/responses/{id}",
        "Forget a stored response.",
        (DeletedResponse,),
        errors=(400, 401, 403, 404, 503),
    ),
    Operation(
        "post",
        "/v1/feedback",
        "Say how an answer was received: one reaction, or up to a hundred.",
        (FeedbackResult, FeedbackList),
        (FeedbackRequest, FeedbackBatch),
        statuses=(200, 201, 422),
        errors=(400, 401, 403, 404, 409, 413, 415, 429, 503),
    ),
    Operation(
        "get",
        "/v1/generations/{id}",
        "A recorded answer, with what was asked and what was said of it.",
        (GenerationObject,),
        errors=(400, 401, 404, 429, 503),
    ),
    Operation(
        "get",
        "/v1/episodes/{id}",
        "The answers of one episode, in their order, with what was said of each.",
        (EpisodeObject,),
        errors=(400, 401, 404, 429, 503),
    ),
    Operation(
        "post",
        "/v1/conversations",
        "Begin a conversation; answers with `conversation` go on from it and are added to it. Its "
        "items are at `/v1/conversations/ID/items`.",
        (ConversationObject,),
        (NewConversation,),
        errors=CONVERSATION,
    ),
    Operation(
        "get",
        "/v1/conversations/{id}",
        "A conversation.",
        (ConversationObject, ItemList, dict[str, Any]),
        errors=CONVERSATION,
    ),
    Operation(
        "post",
        "/v1/conversations/{id}",
        "Change what is said about a conversation.",
        (ConversationObject, ItemList),
        (ConversationChange, AddedItems),
        errors=CONVERSATION,
    ),
    Operation(
        "delete",
        "/v1/conversations/{id}",
        "Forget a conversation.",
        (DeletedConversation, ConversationObject),
        errors=CONVERSATION,
    ),
    Operation("get", "/v1/models", "The models that can be asked.", (ModelList,), errors=(401,)),
    Operation("get", "/v1/models/{model}", "One model.", (Model,), errors=(401, 404)),
    Operation(
        "get",
        "/v1/key",
        "What the key may do, and what is left of its limits and budgets.",
        (KeyState,),
        errors=(401, 429, 503),
    ),
    Operation(
        "get",
        "/v1/usage",
        "What the key's tenant used, in buckets of time.",
        (UsagePage,),
        errors=USAGE,
        query=_page("1m", "1h", "1d", most=1440, keys="`model`, `api_key_id`"),
    ),
    Operation(
        "get",
        "/v1/costs",
        "What the key's tenant owes, in days.",
        (CostPage,),
        errors=USAGE,
        query=_page("1d", most=180, keys="`line_item`"),
    ),
    *OPERATORS,
    Operation("post", "/v1/embeddings", "Refused: the models generate text.", statuses=()),
    Operation(
        "get", "/healthz", "Whether a request could be answered.", (dict[str, Any],), errors=()
    ),
)
HEADERS: dict[str, tuple[str, dict[str, Any]]] = {
    "x-session-id": (
        "What the user is at; keeps a session on one side of a canary.",
        {"maxLength": LONGEST[SESSION]},
    ),
    "x-surface": ("Where in the product the answer is shown.", {"maxLength": LONGEST[SURFACE]}),
    "x-language": ("Language of the text or code.", {"maxLength": LONGEST[LANGUAGE]}),
    "x-training-consent": (
        "Whether the answer may be trained on.",
        {"enum": ["yes", "no", "true", "false"]},
    ),
    STRICT: (
        "Whether what is not known or not done here is refused, in place of being left out and "
        "named in the answer's header `x-ignored-parameters`.",
        {"enum": ["1", "0", "true", "false"]},
    ),
    TIMEOUT: (
        "Seconds until the answer must be complete.",
        {"type": "number", "exclusiveMinimum": 0},
    ),
}


@cache
def document() -> bytes:
    """The OpenAPI 3.1 document, as JSON."""
    types = [t for o in OPERATIONS for t in (*o.answers, *o.requests)]
    types += [ErrorBody, ChatCompletionChunk]
    schemas, components = msgspec.json.schema_components(
        types, ref_template="#/components/schemas/{name}"
    )
    by_type = dict(zip(map(repr, types), schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method] = _describe(operation, by_type)
    described = {
        "openapi": "3.1.0",
        "info": {
            "title": "liveweights",
            "version": version("liveweights"),
            "description": "OpenAI's dialect; every answer says which checkpoint gave it.",
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


def _one_of(types: tuple[Any, ...], schemas: dict[str, Any]) -> dict[str, Any]:
    found = [schemas[repr(type)] for type in types]
    return found[0] if len(found) == 1 else {"anyOf": found}


def _describe(operation: Operation, schemas: dict[str, Any]) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    for status in operation.statuses:
        content: dict[str, Any] = {JSON: {"schema": _one_of(operation.answers, schemas)}}
        description = WHY.get(status, "The answer.")
        if operation.events is not None:
            content[EVENTS] = {}
            description += f" With `stream`: {operation.events}."
        responses[str(status)] = {"description": description, "content": content}
    for status in (*operation.errors, *ALWAYS):
        content = {JSON: {"schema": schemas[repr(ErrorBody)]}}
        responses[str(status)] = {"description": WHY[status], "content": content}
    if operation.path == "/healthz":
        responses["503"] = responses["200"] | {"description": "It could not, and why."}
    found: dict[str, Any] = {"summary": operation.summary, "responses": responses}
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in ("id", "model", "tenant", "key")
        if f"{{{name}}}" in operation.path
    ]
    parameters += [
        {"name": name, "in": "query", "schema": schema} for name, schema in operation.query.items()
    ]
    if operation.operator:
        found["security"] = [{"operator": []}]
    if operation.generates:
        for name, (text, schema) in HEADERS.items():
            full = {"type": "string"} | schema
            parameters.append({"name": name, "in": "header", "description": text, "schema": full})
    if parameters:
        found["parameters"] = parameters
    if operation.requests:
        content = {JSON: {"schema": _one_of(operation.requests, schemas)}}
        found["requestBody"] = {"required": True, "content": content}
    return found


async def describe_api(scope: Scope, receive: Receive, send: Send) -> None:
    """GET /openapi.json"""
    await reply(send, 200, document())
