"""Parts of a JSON schema that refer to others of it (``$ref``), taken out of it.

A pointer (RFC 6901, after ``#``) counts from the root of the document, which such a part no longer
has around it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, cast
from urllib.parse import unquote

Schema = Mapping[str, Any]

_BY_NAME = frozenset(("properties", "patternProperties", "dependentSchemas"))
"""Keywords that hold a schema for each name."""
_VALUES = frozenset(("enum", "const", "default", "examples"))
"""Keywords that hold values, in which nothing is a reference."""
_DEFINITIONS = frozenset(("$defs", "definitions"))
_LINKS = 8
"""References after one another that are followed."""
_ALTERNATIVES = 100
"""Of a choice, that are looked at: more are as good as any value."""


def resolve(schema: Any, root: Schema) -> Any:
    """The schema that ``schema`` refers to, with what it says beside that; as far as it refers to
    one in ``root``, and no further than ``_LINKS``."""
    found = schema
    for _ in range(_LINKS):
        if not isinstance(found, dict):
            break
        told = cast(dict[str, Any], found)
        target = _look_up(told.get("$ref"), root)
        if not isinstance(target, dict):
            break
        beside = {key: value for key, value in told.items() if key != "$ref"}
        found = {**cast(Schema, target), **beside}
    return found


def resolve_choices(schema: Any, root: Schema) -> Any:
    """``resolve``, and of a choice (``anyOf``, ``oneOf``) each alternative, too."""
    found = resolve(schema, root)
    if not isinstance(found, dict):
        return found
    told = cast(dict[str, Any], found)
    several = {key: told[key] for key in ("anyOf", "oneOf") if isinstance(told.get(key), list)}
    if max(map(len, several.values()), default=0) > _ALTERNATIVES:
        return schema
    return told | {key: [resolve(one, root) for one in all] for key, all in several.items()}


def detach(schema: Any, root: Schema) -> Any:
    """``schema``, a part of ``root``, as a document of its own: with all that it refers to, and
    nothing else, under ``$defs``. What refers to nothing in ``root`` stays as it is."""
    if not isinstance(schema, dict):
        return schema
    pointers = _Pointers(root)
    detached = _relocate(schema, pointers)
    # A definition may refer to others, which come to the end of the list.
    definitions = {
        str(place): _relocate(target, pointers) for place, target in enumerate(pointers.targets)
    }
    if not definitions:
        return cast(Any, schema)
    dialect = {"$schema": root["$schema"]} if "$schema" in root else {}
    return {**dialect, **detached, "$defs": definitions}


class _Pointers:
    """Those that were met, numbered as they came, and what they point at."""

    def __init__(self, root: Schema) -> None:
        self._root = root
        self._places: dict[str, int] = {}
        self.targets: list[Any] = []

    def move(self, pointer: Any) -> Any:
        """Where its target is once it is detached; what points at nothing stays."""
        if not isinstance(pointer, str):
            return pointer
        if pointer not in self._places:
            target = _look_up(pointer, self._root)
            if target is None:
                return pointer
            self._places[pointer] = len(self.targets)
            self.targets.append(target)
        return f"#/$defs/{self._places[pointer]}"


def _relocate(schema: Any, pointers: _Pointers) -> Any:
    if isinstance(schema, list):
        return [_relocate(one, pointers) for one in cast(list[Any], schema)]
    if not isinstance(schema, dict):
        return schema
    relocated: dict[str, Any] = {}
    for key, value in cast(dict[str, Any], schema).items():
        if key == "$ref":
            relocated[key] = pointers.move(value)
        elif key in _BY_NAME and isinstance(value, dict):
            named = cast(dict[str, Any], value)
            relocated[key] = {name: _relocate(one, pointers) for name, one in named.items()}
        elif key not in _DEFINITIONS:
            relocated[key] = value if key in _VALUES else _relocate(value, pointers)
    return relocated


def _look_up(pointer: Any, root: Schema) -> Any:
    """What ``pointer`` points at; None where that is nothing in ``root``."""
    if not isinstance(pointer, str) or (pointer != "#" and not pointer.startswith("#/")):
        return None
    found: Any = root
    for part in unquote(pointer).split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(found, list) and re.fullmatch("[0-9]{1,6}", name):
            found = dict(enumerate(cast(list[Any], found))).get(int(name))
        elif isinstance(found, dict):
            found = cast(dict[str, Any], found).get(name)
        else:
            return None
    return found
