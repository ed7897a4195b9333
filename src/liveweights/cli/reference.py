"""Settings as a TOML file that explains itself."""

from __future__ import annotations

import json
import textwrap

import msgspec

from liveweights.config import Config


def toml_of(config: Config) -> str:
    """Every key with its value, below its description."""
    plain: list[str] = []
    tables: list[str] = []
    for name in config.__struct_fields__:
        value = getattr(config, name)
        if isinstance(value, msgspec.Struct):
            tables += ["", f"[{name}]", *_keys(value)]
    plain += _keys(config)
    return "\n".join([*plain, *tables])


def _keys(table: msgspec.Struct) -> list[str]:
    lines: list[str] = []
    for field in msgspec.structs.fields(table):
        value = getattr(table, field.name)
        if isinstance(value, msgspec.Struct):
            continue
        info = msgspec.inspect.type_info(field.type)
        about = getattr(info, "extra_json_schema", None) or {}
        text = about.get("description", "")
        lines += [f"# {line}" for line in textwrap.wrap(text, 90)]
        lines.append(f"{field.name} = {_toml(value)}")
    return lines


def _toml(value: object) -> str:
    if isinstance(value, msgspec.Struct):
        value = msgspec.to_builtins(value)
    if isinstance(value, dict):
        inner = ", ".join(f"{json.dumps(k)} = {_toml(v)}" for k, v in value.items())
        return f"{{ {inner} }}" if inner else "{}"
    return json.dumps(value)
