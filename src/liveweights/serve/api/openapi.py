"""GET /openapi.json: the API's own description, made from the structs that it decodes and sends."""

from __future__ import annotations

from functools import cache
from typing import Any

from starlette.types import Receive, Scope, Send

from liveweights.http.exchange import TIMEOUT
from liveweights.http.wire import reply
from liveweights.serve.admin.openapi import OPERATORS
from liveweights.serve.api.admission import STRICT
from liveweights.serve.api.chat import ChatRequest
from liveweights.serve.api.completions import CompletionRequest
from liveweights.serve.api.description import Header, Operation, write_document
from liveweights.serve.api.editors import InfillAnswer, InfillRequest
from liveweights.serve.api.objects import (
    ChatCompletion,
    ChatCompletionChunk,
    Completion,
    EpisodeObject,
    GenerationObject,
    Model,
    ModelList,
)
from liveweights.serve.api.operations import CALLER, COSTS, FEEDBACK, HEALTH, KEY, USAGE
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

HEADERS: dict[str, Header] = {
    **CALLER,
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
        chunks=(ChatCompletionChunk,),
        events="`data: ` and a ChatCompletionChunk for each piece, then `data: [DONE]`",
        headers=HEADERS,
    ),
    Operation(
        "post",
        "/v1/completions",
        "Continue a text, or fill its middle.",
        (Completion,),
        (CompletionRequest,),
        errors=GENERATION,
        events="`data: ` and a Completion for each piece, then `data: [DONE]`",
        headers=HEADERS,
    ),
    Operation(
        "post",
        "/v1/responses",
        "Answer in a conversation that the server keeps.",
        (Response,),
        (ResponsesRequest,),
        errors=GENERATION,
        events="OpenAI's `response.*` events",
        headers=HEADERS,
    ),
    Operation(
        "post",
        "/infill",
        "Fill the middle of a file, as llama.cpp's server does.",
        (InfillAnswer,),
        (InfillRequest,),
        errors=GENERATION,
        events="`data: ` and the next piece as `content`, the last with `stop`",
        headers=HEADERS,
    ),
    Operation(
        "get",
        "/v1/responses/{id}",
        "A stored response; below it, at `/input_items`, what was new in its input.",
        (Response, ItemList),
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
    *OPERATORS,
    Operation("post", "/v1/embeddings", "Refused: the models generate text.", statuses=()),
    FEEDBACK,
    KEY,
    USAGE,
    COSTS,
    HEALTH,
)


@cache
def document() -> bytes:
    """The API's, as JSON."""
    return write_document(
        OPERATIONS, "OpenAI's dialect; every answer says which checkpoint gave it."
    )


async def describe_api(scope: Scope, receive: Receive, send: Send) -> None:
    """GET /openapi.json"""
    await reply(send, 200, document())
