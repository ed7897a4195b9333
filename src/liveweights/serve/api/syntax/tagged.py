"""Arguments that are written one by one between tags, not as a JSON object.

Texts stand as they are, everything else as JSON; which of the two a value is, its schema says.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from liveweights.engines.json_schema import json_rule
from liveweights.serve.api.syntax.protocol import Call, Function, in_pattern, quoted

Schema = Mapping[str, Any]


def make_call(
    name: str, written: Sequence[tuple[str, str]], schemas: Collection[str]
) -> list[Call] | None:
    """A call of ``name`` with the texts that were written for its arguments; None where there is no
    such tool. ``schemas`` is a mapping where the tools' schemas are known."""
    if name not in schemas:
        return None
    told = cast(Schema, schemas[name]) if isinstance(schemas, Mapping) else {}
    properties = _properties(told)
    arguments = {key: _value(text, properties.get(key)) for key, text in written}
    return [Call(name, json.dumps(arguments, ensure_ascii=False))]


def _properties(schema: Schema) -> dict[str, Any]:
    told = schema.get("properties")
    return cast(dict[str, Any], told) if isinstance(told, dict) else {}


def _value(text: str, schema: Any) -> Any:
    if _is_text(schema):
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text  # the model's own slip, or a text whose schema does not say so


def _is_text(schema: Any) -> bool:
    """Whether a value is a text and nothing else."""
    if not isinstance(schema, dict):
        return False
    told = cast(dict[str, Any], schema)
    if told.get("type") == "string":
        return True
    values = told.get("enum")
    return isinstance(values, list) and all(isinstance(v, str) for v in cast(list[Any], values))


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
        length."""
        properties = _properties(function.parameters)
        required = cast(Collection[str], function.parameters.get("required") or ())
        parts: list[str] = []
        rules: list[str] = []
        for number, (name, schema) in enumerate(properties.items()):
            rule = f"arg_{place}_{number}"
            before = quoted(self.before.replace("{}", name))
            rules += [f"{rule}: {before} {rule}_value", *self._value_rule(rule, schema)]
            parts.append(rule if name in required else f"{rule}?")
        if not properties and function.parameters.get("additionalProperties") is not False:
            parts.append(f"any_{place}*")
            before, rest = map(quoted, self.before.split("{}"))
            rules.append(f"any_{place}: {before} /[\\w.-]+/ {rest} any_{place}_text")
            rules.append(self._text_rule(f"any_{place}_text"))
        head = quoted(self.head.replace("{}", function.name))
        return [" ".join([f"fn_{place}:", head, *parts, quoted(self.tail)]), *rules]

    def _value_rule(self, rule: str, schema: Any) -> list[str]:
        after = quoted(self.after)
        if not _is_text(schema):
            return [f"{rule}_value: {rule}_json {after}", f"{rule}_json: {json_rule(schema)}"]
        values = cast(dict[str, Any], schema).get("enum")
        if isinstance(values, list):
            choices = " | ".join(quoted(str(value)) for value in cast(list[Any], values))
            return [f"{rule}_value: ({choices}) {after}"]
        return [self._text_rule(f"{rule}_value")]

    def _text_rule(self, rule: str) -> str:
        """Any text up to the first ``after``."""
        return f"{rule}[lazy]: /(.|\\n)*{in_pattern(self.after)}/"
