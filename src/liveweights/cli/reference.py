"""Settings as a TOML file that explains itself."""

from __future__ import annotations

import json
import textwrap

import msgspec

from liveweights.config import Config


def toml_of(config: Config) -> str:
    """Every key with its value, below its description."""
    lines = _keys(config)
    for name in config.__struct_fields__:
        value = getattr(config, name)
        if isinstance(value, msgspec.Struct):
            lines += _table(name, value)
    return "\n".join(lines)


def describe(field: msgspec.structs.FieldInfo) -> str:
    """What a key is for, as its declaration says."""
    info = msgspec.inspect.type_info(field.type)
    about = getattr(info, "extra_json_schema", None) or {}
    return about.get("description", "")


def toml_value(value: object) -> str:
    """``value`` as TOML writes it, in one line."""
    if isinstance(value, msgspec.Struct):
        value = msgspec.to_builtins(value)
    if isinstance(value, dict):
        given = ((key, one) for key, one in value.items() if one is not None)
        inner = ", ".join(f"{toml_value(key)} = {toml_value(one)}" for key, one in given)
        return f"{{ {inner} }}" if inner else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(toml_value, value))}]"
    # Characters beyond U+FFFF would be escaped by halves, which TOML does not take.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _table(name: str, table: msgspec.Struct) -> list[str]:
    lines = ["", f"[{name}]", *_keys(table)]
    for field in table.__struct_fields__:
        value = getattr(table, field)
        if isinstance(value, msgspec.Struct):
            lines += _table(f"{name}.{field}", value)
    return lines


def _keys(table: msgspec.Struct) -> list[str]:
    lines: list[str] = []
    for field in msgspec.structs.fields(table):
        value = getattr(table, field.name)
        if isinstance(value, msgspec.Struct):
            continue
        lines += [f"# {line}" for line in textwrap.wrap(describe(field), 90)]
        # TOML has no null: what is not set is not there.
        unset = f"# {field.name} is not set"
        lines.append(unset if value is None else f"{field.name} = {toml_value(value)}")
    return lines
