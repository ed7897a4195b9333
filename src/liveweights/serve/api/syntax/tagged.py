"""Arguments that are written one by one between tags, not as a JSON object.

Texts stand as they are, everything else as JSON; which of the two a value is, its schema says. Of a
text that may be null, ``null`` is that.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from liveweights.engines.json_schema import json_rule
from liveweights.http.errors import bad_request
from liveweights.serve.api.syntax.arguments import JSON, write_arguments
from liveweights.serve.api.syntax.protocol import Call, Function, in_pattern, quoted
from liveweights.serve.api.syntax.references import detach, resolve, resolve_choices

Schema = Mapping[str, Any]
MAX_CHARACTERS = 262_144
"""Of the rules of one function's values: of what arguments share, each has its own copy."""


def make_call(
    name: str, written: Sequence[tuple[str, str]], schemas: Collection[str]
) -> list[Call] | None:
    """A call of ``name`` with the texts that were written for its arguments; None where there is no
    such tool. ``schemas`` is a mapping where the tools' schemas are known."""
    if name not in schemas:
        return None
    told = cast(Schema, schemas[name]) if isinstance(schemas, Mapping) else {}
    properties = _properties(told)
    arguments = {
        key: _value(text, resolve_choices(properties.get(key), told)) for key, text in written
    }
    return [Call(name, write_arguments(arguments))]


def split_elements(text: str, begin: str, end: str) -> list[str] | None:
    """What is between each ``begin`` and the ``end`` after it; None where ``text`` has anything
    else but white space."""
    *parts, rest = text.split(end)
    elements = [part.lstrip() for part in parts]
    if rest.strip() or not all(element.startswith(begin) for element in elements):
        return None
    return [element[len(begin) :] for element in elements]


def split_name(text: str) -> tuple[str, str] | None:
    """The rest of a tag that ends in a name, which may be quoted, and what follows it; None where
    it is no such tag."""
    name, closed, rest = text.partition(">")
    name = name.removeprefix('"').removesuffix('"')
    return (name, rest) if closed and name and "\n" not in name else None


def split_named(text: str, begin: str, end: str) -> list[tuple[str, str]] | None:
    """``split_elements`` of tags with a name: each name and what is in it."""
    elements = split_elements(text, begin, end)
    if elements is None:
        return None
    named: list[tuple[str, str]] = []
    for element in elements:
        one = split_name(element)
        if one is None:
            return None
        named.append(one)
    return named


def _properties(schema: Schema) -> dict[str, Any]:
    told = resolve(schema, schema).get("properties")
    return cast(dict[str, Any], told) if isinstance(told, dict) else {}


def _value(text: str, schema: Any) -> Any:
    """Where a text may stand, one that reads as what may not is one."""
    if _is_text(schema):
        return None if text == "null" and "null" in (_kinds(schema) or ()) else text
    try:
        value = JSON.decode(text)
    except (ValueError, RecursionError):
        return text  # the model's own slip, or a text whose schema does not say so
    kinds = _kinds(schema)
    if kinds is None or "string" not in kinds or kinds & _kinds_of(value):
        return value
    return text


def _is_text(schema: Any) -> bool:
    """Whether a value is a text, or null, and nothing else: it is written as it is."""
    kinds = _kinds(schema)
    return kinds is not None and "string" in kinds and kinds <= {"string", "null"}


def _kinds(schema: Any) -> frozenset[str] | None:
    """The types of JSON that a schema admits; None where it does not say in one of the usual
    ways."""
    if not isinstance(schema, dict):
        return None
    told = cast(dict[str, Any], schema)
    match told:
        case {"type": str(kind)}:
            return frozenset((kind,))
        case {"type": list(kinds)}:
            return frozenset(map(str, cast(list[Any], kinds)))
        case {"enum": list(values)}:
            return frozenset[str]().union(*map(_kinds_of, cast(list[Any], values)))
        case {"const": value}:
            return _kinds_of(value)
        case {"anyOf": list(several)} | {"oneOf": list(several)}:
            each = [_kinds(one) for one in cast(list[Any], several)]
            known = [kinds for kinds in each if kinds is not None]
            return frozenset[str]().union(*known) if len(known) == len(each) else None
        case _:
            return None


def _kinds_of(value: Any) -> frozenset[str]:
    """What a schema may call a value's type."""
    match value:
        case None:
            return frozenset(("null",))
        case bool():
            return frozenset(("boolean",))
        case str():
            return frozenset(("string",))
        case int():
            return frozenset(("integer", "number"))
        case float():
            return frozenset(("number", "integer") if value.is_integer() else ("number",))
        case list():
            return frozenset(("array",))
        case _:
            return frozenset(("object",))


def _choices(schema: Any) -> list[str] | None:
    """How the texts that a value may be are written; None where it may be any."""
    match schema:
        case {"enum": list(values)}:
            return [_spelled(one) for one in cast(list[Any], values)]
        case {"const": value}:
            return [_spelled(value)]
        case {"type": "null"}:
            return ["null"]
        case {"anyOf": list(several)} | {"oneOf": list(several)}:
            each = [_choices(one) for one in cast(list[Any], several)]
            known = [one for one in each if one is not None]
            return sum(known, list[str]()) if len(known) == len(each) else None
        case _:
            return None


def _spelled(value: Any) -> str:
    return "null" if value is None else str(value)


@dataclass(frozen=True, slots=True)
class Tagging:
    """How an argument is written, in Lark: ``head`` and ``tail`` around a call's arguments,
    ``before`` and ``after`` around a value, with ``{}`` for the name. No text may have ``after`` in
    it."""

    head: str
    before: str
    after: str
    tail: str

    def rules(self, place: int, function: Function) -> list[str]:
        """Rules of a Lark grammar: ``fn_0`` is a call of the first function, with its arguments in
        the order of its schema. Of a text only a choice (``enum``) is enforced, not its pattern or
        length. Raises ApiError 400 for rules that are too long."""
        root = function.parameters
        told = cast(Schema, resolve(root, root))
        properties = _properties(root)
        required = cast(Collection[str], told.get("required") or ())
        parts: list[str] = []
        rules: list[str] = []
        size = 0
        for number, (name, schema) in enumerate(properties.items()):
            rule = f"arg_{place}_{number}"
            before = quoted(self.before.replace("{}", name))
            value = self._value_rule(rule, schema, root)
            size += sum(map(len, value))
            if size > MAX_CHARACTERS:
                message = f"Arguments of the tool {function.name!r} share definitions too long."
                raise bad_request(message, "tools", "schema_too_large")
            rules += [f"{rule}: {before} {rule}_value", *value]
            parts.append(rule if name in required else f"{rule}?")
        if not properties and told.get("additionalProperties") is not False:
            parts.append(f"any_{place}*")
            before, rest = map(quoted, self.before.split("{}"))
            rules.append(f"any_{place}: {before} /[\\w.-]+/ {rest} any_{place}_text")
            rules.append(self._text_rule(f"any_{place}_text"))
        head = quoted(self.head.replace("{}", function.name))
        return [" ".join([f"fn_{place}:", head, *parts, quoted(self.tail)]), *rules]

    def _value_rule(self, rule: str, schema: Any, root: Schema) -> list[str]:
        after = quoted(self.after)
        resolved = resolve_choices(schema, root)
        if not _is_text(resolved):
            document = json_rule(detach(schema, root))
            return [f"{rule}_value: {rule}_json {after}", f"{rule}_json: {document}"]
        choices = _choices(resolved)
        if choices:
            return [f"{rule}_value: ({' | '.join(map(quoted, choices))}) {after}"]
        return [self._text_rule(f"{rule}_value")]

    def _text_rule(self, rule: str) -> str:
        """Any text up to the first ``after``."""
        return f"{rule}[lazy]: /(.|\\n)*{in_pattern(self.after)}/"
