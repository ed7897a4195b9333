"""What an answer has to be where it is not a call: text, or JSON."""

from __future__ import annotations

from typing import Literal

import msgspec

from liveweights.http.errors import bad_request
from liveweights.serve.api.offers import Schema, ToolName


class JsonSchema(msgspec.Struct, forbid_unknown_fields=True):
    name: ToolName
    description: str | None = None
    schema: Schema | None = None
    strict: bool | None = None


class ResponseFormat(msgspec.Struct, forbid_unknown_fields=True):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None


def schema_of(format: ResponseFormat | None) -> Schema | None:
    """None for any text. Raises ApiError 400."""
    if format is None or format.type == "text":
        return None
    if format.type == "json_object":
        return {"type": "object"}
    if format.json_schema is None or format.json_schema.schema is None:
        message = "'json_schema' needs the name and the schema of what to answer."
        where = "response_format.json_schema"
        raise bad_request(message, where, "missing_required_parameter")
    return format.json_schema.schema
