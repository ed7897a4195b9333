"""Tools and formats of an answer: what a request says, and the constraint that follows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from liveweights.engines.guide import json_rule
from liveweights.engines.protocol import Constraint, Token
from liveweights.http.errors import bad_request, unsupported
from liveweights.http.wire import StoredName
from liveweights.serve.api.syntax.protocol import Call, Function, Reader, Syntax

MAX_TOOLS = 128
MAX_SCHEMA_BYTES = 65_536
"""Of all that an answer must fit: what compiles in about a second at worst."""
ToolName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.:/@-]{1,128}$")]
Schema = dict[str, Any]


class FunctionTool(msgspec.Struct, forbid_unknown_fields=True):
    name: ToolName
    description: str | None = None
    parameters: Schema | None = None
    strict: bool | None = None


class Tool(msgspec.Struct, forbid_unknown_fields=True):
    type: Literal["function"]
    function: FunctionTool


class FunctionName(msgspec.Struct, forbid_unknown_fields=True):
    name: ToolName


class NamedTool(msgspec.Struct, forbid_unknown_fields=True):
    type: Literal["function"]
    function: FunctionName


ToolChoice = Literal["none", "auto", "required"] | NamedTool


class JsonSchema(msgspec.Struct, forbid_unknown_fields=True):
    name: ToolName
    description: str | None = None
    schema: Schema | None = None
    strict: bool | None = None


class ResponseFormat(msgspec.Struct, forbid_unknown_fields=True):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Toolbox:
    """The functions that one answer may call; none where it may not call any."""

    functions: tuple[Function, ...] = ()
    required: bool = False
    parallel: bool = True
    syntax: Syntax | None = None

    def described(self) -> list[dict[str, Any]]:
        """As chat templates expect them."""
        return [
            {
                "type": "function",
                "function": {
                    "name": function.name,
                    "description": function.description,
                    "parameters": function.parameters,
                },
            }
            for function in self.functions
        ]

    def reader(self) -> Reader | None:
        """Takes the calls out of an answer; None where it has none."""
        if not self.functions or self.syntax is None:
            return None
        return self.syntax.reader({function.name for function in self.functions})


def make_toolbox(
    functions: Sequence[FunctionTool],
    choice: str | None,
    parallel: bool | None,
    syntax: Syntax | None,
    model: str,
) -> Toolbox:
    """``choice`` is none, auto, required, or ``=`` and a function's name. Raises ApiError 400."""
    if len(functions) > MAX_TOOLS:
        message = f"{len(functions)} tools are more than the {MAX_TOOLS} of one request."
        raise bad_request(message, "tools", "invalid_value")
    names = [function.name for function in functions]
    if len(set(names)) < len(names):
        raise bad_request("Two tools have the same name.", "tools", "invalid_value")
    choice = choice or "auto"
    if choice not in ("none", "auto") and not functions:
        message = "'tool_choice' needs 'tools' to choose from."
        raise bad_request(message, "tool_choice", "invalid_value")
    if choice == "none" or not functions:
        return Toolbox()
    if syntax is None:
        message = f"How the model {model!r} writes tool calls is not known here; leave 'tools' out."
        raise unsupported("tools", message)
    if choice.startswith("="):
        functions = [function for function in functions if function.name == choice[1:]]
        if not functions:
            message = f"'tool_choice' names {choice[1:]!r}, which is not among the tools."
            raise bad_request(message, "tool_choice", "invalid_value")
    return Toolbox(
        functions=tuple(
            Function(
                function.name,
                function.description or "",
                _object(function.parameters),
                bool(function.strict),
            )
            for function in functions
        ),
        required=choice != "auto",
        # Whoever names a function wants one call of it.
        parallel=parallel is not False and not choice.startswith("="),
        syntax=syntax,
    )


def _object(parameters: Schema | None) -> Schema:
    return {"type": "object", "properties": {}} | (parameters or {})


def make_constraint(toolbox: Toolbox, format: ResponseFormat | None) -> Constraint | None:
    """What the answer must be; None if it may be anything. Raises ApiError 400."""
    schema = _schema(format)
    strict = any(function.strict for function in toolbox.functions)
    free = not (toolbox.required or strict or not toolbox.parallel)
    if schema is None and (free or not toolbox.functions):
        return None
    _check_size([schema, *(function.parameters for function in toolbox.functions)])
    if not toolbox.functions:
        return Constraint("json_schema", json.dumps(schema), "the schema of the answer")
    assert toolbox.syntax is not None
    grammar = toolbox.syntax.grammar(
        toolbox.functions,
        text=None if schema is None else json_rule(schema),
        required=toolbox.required,
        parallel=toolbox.parallel,
    )
    return Constraint("lark", grammar, _about(toolbox.functions, schema))


def _about(functions: Sequence[Function], schema: Schema | None) -> str:
    named = " or ".join(repr(function.name) for function in functions[:5])
    more = f" or {len(functions) - 5} more" if len(functions) > 5 else ""
    also = ", or the schema of the answer," if schema is not None else ""
    return f"a schema among the tools {named}{more}{also}"


def _check_size(schemas: Sequence[Schema | None]) -> None:
    size = sum(len(msgspec.json.encode(schema)) for schema in schemas)
    if size > MAX_SCHEMA_BYTES:
        message = (
            f"The schemas of this request have {size} bytes; an answer can be held to "
            f"{MAX_SCHEMA_BYTES} at most."
        )
        raise bad_request(message, code="schema_too_large")


def _schema(format: ResponseFormat | None) -> Schema | None:
    if format is None or format.type == "text":
        return None
    if format.type == "json_object":
        return {"type": "object"}
    if format.json_schema is None or format.json_schema.schema is None:
        message = "'json_schema' needs the name and the schema of what to answer."
        where = "response_format.json_schema"
        raise bad_request(message, where, "missing_required_parameter")
    return format.json_schema.schema


@dataclass(slots=True)
class Said:
    """A whole answer, taken apart."""

    text: str = ""
    calls: list[Call] = field(default_factory=list[Call])


def take_apart(tokens: Sequence[Token], reader: Reader | None) -> Said:
    if reader is None:
        return Said("".join(token.text for token in tokens))
    said = Said()
    pieces = [piece for token in tokens for piece in reader.push(token)]
    for piece in (*pieces, *reader.finish()):
        if isinstance(piece, Call):
            said.calls.append(piece)
        else:
            said.text += piece
    return said


class CalledFunction(msgspec.Struct, forbid_unknown_fields=True):
    """``arguments`` is JSON text."""

    name: StoredName
    arguments: str


class CalledTool(msgspec.Struct, forbid_unknown_fields=True):
    id: str
    function: CalledFunction
    type: Literal["function"] = "function"
