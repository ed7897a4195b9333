"""Members of a request that nobody here knows: left out, and named.

Clients send more than they need. What is known is checked as strictly as ever; what is not is
taken out before, wherever it stands.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache, cached_property
from typing import Any, TypeVar, cast

import msgspec
from msgspec import inspect

from liveweights.http.errors import ApiError
from liveweights.http.wire import decode, invalid, not_json

Struct = TypeVar("Struct", bound=msgspec.Struct)

MOST_NAMED, LONGEST_NAME = 20, 80
"""Of those that are left out, in an answer's header."""


def decode_known(body: bytes, type: type[Struct]) -> tuple[Struct, tuple[str, ...]]:
    """``body`` as ``type``, and the paths of the members that were left out, such as
    ``messages[].name``. Raises ApiError 400 as ``wire.decode`` does for all else."""
    try:
        return decode(body, type), ()
    except ApiError as error:
        if error.code != "unknown_parameter":
            raise
    try:
        given = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:  # after the unknown member
        raise not_json(error) from None
    left_out: dict[str, None] = {}
    _take_out(given, _shape(type), "", left_out)
    try:
        return msgspec.convert(given, type), tuple(left_out)
    except msgspec.ValidationError as error:
        raise invalid(error, body, type) from None


def header_of(names: Sequence[str]) -> tuple[tuple[bytes, bytes], ...]:
    """The header ``x-ignored-parameters``; none where nothing was left out."""
    if not names:
        return ()
    shown = [_printable(name) for name in names[:MOST_NAMED]]
    more = [f"and {len(names) - MOST_NAMED} more"] if len(names) > MOST_NAMED else []
    return ((b"x-ignored-parameters", ", ".join(shown + more).encode("ascii")),)


def _printable(name: str) -> str:
    """A client's own text, in a header: ASCII without separators."""
    return "".join(c if " " < c < "\x7f" and c != "," else "?" for c in name[:LONGEST_NAME])


class _Shape:
    """What a value may be, of a type that has objects of known members in it. Found once for a
    type: a body may have hundreds of thousands of objects."""

    def __init__(self, type: inspect.Type) -> None:
        self._structs = [kind for kind in _kinds(type) if isinstance(kind, inspect.StructType)]
        lists = [kind for kind in _kinds(type) if isinstance(kind, inspect.ListType)]
        self.items = [_Shape(one.item_type) for one in lists if _has_objects(one.item_type)]
        """What a list may have in it that is to be looked at."""

    @cached_property
    def _members(self) -> list[dict[str, _Shape | None]]:
        """Of each struct."""
        return [_members_of(kind) for kind in self._structs]

    def members(self, given: dict[str, Any]) -> dict[str, _Shape | None] | None:
        """Those that such an object has, with the shapes of those that are to be looked at; None
        where it may have any."""
        if len(self._structs) < 2:
            return self._members[0] if self._structs else None
        for kind, members in zip(self._structs, self._members, strict=True):
            if given.get(kind.tag_field or "") == kind.tag:
                return members
        return None


@cache
def _shape(type: type[msgspec.Struct]) -> _Shape:
    return _Shape(inspect.type_info(type))


def _members_of(kind: inspect.StructType) -> dict[str, _Shape | None]:
    members: dict[str, _Shape | None] = {kind.tag_field: None} if kind.tag_field else {}
    for field in kind.fields:
        members[field.encode_name] = _Shape(field.type) if _has_objects(field.type) else None
    return members


def _take_out(value: Any, shape: _Shape, path: str, left_out: dict[str, None]) -> None:
    """Remove unknown members from ``value``; their paths are added to ``left_out``."""
    if isinstance(value, dict):
        given = cast(dict[str, Any], value)
        known = shape.members(given)
        if known is None:
            return
        for name in list(given):
            if name not in known:
                del given[name]
                left_out[f"{path}.{name}" if path else name] = None
            elif (inner := known[name]) is not None:
                _take_out(given[name], inner, f"{path}.{name}" if path else name, left_out)
    elif isinstance(value, list):
        at = f"{path}[]"
        for items in shape.items:
            for item in cast(list[Any], value):
                _take_out(item, items, at, left_out)


def _has_objects(type: inspect.Type) -> bool:
    """Whether structs are in it, in lists or not."""
    return any(
        isinstance(kind, inspect.StructType)
        or (isinstance(kind, inspect.ListType) and _has_objects(kind.item_type))
        for kind in _kinds(type)
    )


def _kinds(shape: inspect.Type) -> Iterator[inspect.Type]:
    if isinstance(shape, inspect.UnionType):
        for kind in shape.types:
            yield from _kinds(kind)
    elif isinstance(shape, inspect.Metadata):
        yield from _kinds(shape.type)
    else:
        yield shape
