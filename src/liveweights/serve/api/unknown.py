"""Members of a request that nobody here knows: left out, and named.

Clients send more than they need. What is known is checked as strictly as ever; what is not is
taken out before, wherever it stands.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
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
    left_out = tuple(dict.fromkeys(_take_out(given, _shape(type), "")))
    try:
        return msgspec.convert(given, type), left_out
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


@cache
def _shape(type: type[msgspec.Struct]) -> inspect.Type:
    return inspect.type_info(type)


def _take_out(value: Any, shape: inspect.Type, path: str) -> Iterator[str]:
    """Remove unknown members from ``value``; their paths."""
    if isinstance(value, dict):
        members = cast(dict[str, Any], value)
        known = _fields(shape, members)
        for name in list(members):
            at = f"{path}.{name}" if path else name
            if known is None:
                return
            if name in known:
                yield from _take_out(members[name], known[name], at)
            else:
                del members[name]
                yield at
    elif isinstance(value, list):
        for kind in _kinds(shape):
            if isinstance(kind, inspect.ListType):
                for item in cast(list[Any], value):
                    yield from _take_out(item, kind.item_type, f"{path}[]")


def _fields(shape: inspect.Type, members: dict[str, Any]) -> dict[str, inspect.Type] | None:
    """The members that an object of this shape has; None where it may have any."""
    structs = [kind for kind in _kinds(shape) if isinstance(kind, inspect.StructType)]
    for kind in structs:
        if len(structs) > 1 and members.get(kind.tag_field or "") != kind.tag:
            continue
        tag = {kind.tag_field: inspect.AnyType()} if kind.tag_field else {}
        return tag | {field.encode_name: field.type for field in kind.fields}
    return None


def _kinds(shape: inspect.Type) -> Iterator[inspect.Type]:
    if isinstance(shape, inspect.UnionType):
        for kind in shape.types:
            yield from _kinds(kind)
    elif isinstance(shape, inspect.Metadata):
        yield from _kinds(shape.type)
    else:
        yield shape
