"""What is wrong with a table that somebody wrote, in one sentence that names the member."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import Any, get_args, get_type_hints

import msgspec

_PLACE = re.compile(r"^(?P<what>.*?)(?: - at `\$(?P<path>.*)`)?$", re.DOTALL)
_UNKNOWN = re.compile(r"Object contains unknown field `(?P<name>.*)`")
_LACKING = re.compile(r"Object missing required field `(?P<name>.*)`")
_CHOICE = re.compile(r"Invalid enum value '(?P<value>.*)'")
_PATTERN = re.compile(r"Expected `str` matching regex '(?P<pattern>.*)'")


def describe(error: msgspec.ValidationError, table: type[msgspec.Struct]) -> str:
    """``on.country[0]: ...``, with what is meant where a name is nearly right. ``table`` is the
    type that was wanted."""
    found = _PLACE.match(str(error))
    assert found is not None
    path = (found["path"] or "").lstrip(".")
    what = _say(found["what"], _type_at(table, path))
    return f"{path}: {what}" if path else what


def _say(what: str, wanted: Any) -> str:
    if unknown := _UNKNOWN.match(what):
        return f"there is no member {unknown['name']!r}{_hint(unknown['name'], _members(wanted))}"
    if lacking := _LACKING.match(what):
        return f"it has no {lacking['name']!r}, which it needs"
    if choice := _CHOICE.match(what):
        return f"{choice['value']!r} is not among its values{_hint(choice['value'], _all(wanted))}"
    if pattern := _PATTERN.match(what):
        return f"it must be text like {pattern['pattern']}"
    return what[:1].lower() + what[1:]


def _hint(name: str, known: list[str]) -> str:
    near = get_close_matches(name, known, 1)
    return f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(known)}"


def _type_at(table: Any, path: str) -> Any:
    """The declared type of a member such as ``on.country[0]``."""
    here = table
    for step in re.findall(r"\w+|\[[^\]]*\]", path):
        if step.startswith("["):
            here = get_args(here)[0]
        else:
            here = next(
                get_type_hints(one)[step] for one in _structs(here) if step in _members(one)
            )
    return here


def _structs(of: Any) -> list[type[msgspec.Struct]]:
    if isinstance(of, type) and issubclass(of, msgspec.Struct):
        return [of]
    return [found for one in get_args(of) for found in _structs(one)]


def _members(of: Any) -> list[str]:
    return [name for one in _structs(of) for name in one.__struct_encode_fields__]


def _all(of: Any) -> list[str]:
    """Every text that a type allows."""
    return [
        found for one in get_args(of) for found in ([one] if isinstance(one, str) else _all(one))
    ]
