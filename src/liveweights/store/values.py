"""Values of Postgres as JSON holds them: the same value, or the text that Postgres has for it.

A number, a truth value, JSON and an array of them become what they are where every reader of JSON
gets exactly that value. All else is text, as Postgres writes it: dates with ``infinity`` and years
of five digits, intervals, numbers that a float would round, JSON too deep to be read.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from psycopg import postgres

LARGEST = 2**53 - 1
"""The largest integer that every reader of JSON gets exactly (RFC 7493)."""
DEEPEST = 64
"""Levels of JSON that are given as JSON; readers give up at some depth, each at another."""


class _Inexact(ValueError):
    """Somebody would read another value."""


def convert(text: str, oid: int) -> Any:
    """``text`` is the value as Postgres writes it, ``oid`` its type's."""
    info = postgres.types.get(oid)
    if info is None:
        return text
    conversion = _CONVERSIONS.get(info.name, _as_text)
    try:
        if oid == info.oid:
            return conversion(text)
        return _array(text, info.delimiter, conversion)
    except (ValueError, ArithmeticError, RecursionError):
        return text


def _as_text(text: str) -> str:
    return text


def _truth(text: str) -> bool:
    return text == "t"


def _integer(text: str) -> int:
    if len(text) > 17 or abs(value := int(text)) > LARGEST:
        raise _Inexact
    return value


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise _Inexact
    return value


def _json(text: str) -> Any:
    value = json.loads(
        text,
        parse_int=_integer,
        parse_float=_decimal,
        parse_constant=_refuse,
        object_pairs_hook=_object,
    )
    _check(value)
    return value


def _decimal(text: str) -> float:
    value = _float(text)
    if Decimal(repr(value)) != Decimal(text):
        raise _Inexact
    return value


def _refuse(text: str) -> Any:
    raise _Inexact(text)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):  # the type json keeps keys that come twice
        raise _Inexact
    return members


def _check(value: Any) -> None:
    """Raises if it is too deep, or has half of a surrogate pair, which the type json lets pass."""
    level: list[Any] = [value]
    for _ in range(DEEPEST):
        below: list[Any] = []
        for one in level:
            match one:
                case str():
                    one.encode()
                case dict():
                    below += [*one, *one.values()]
                case list():
                    below += one
                case _:
                    pass
        if not below:
            return
        level = below
    raise _Inexact


_CONVERSIONS: Mapping[str, Callable[[str], Any]] = {
    "bool": _truth,
    **dict.fromkeys(("int2", "int4", "int8", "oid"), _integer),
    **dict.fromkeys(("float4", "float8"), _float),
    **dict.fromkeys(("json", "jsonb"), _json),
}


_TOKENS = {
    delimiter: re.compile(
        rf"""[{{}}]|"([^"\\]*(?:\\.[^"\\]*)*)"|([^{{}}"{delimiter}]+)""", re.DOTALL
    )
    for delimiter in ",;"
}
"""Braces, quoted elements and bare ones of an array's text, by its delimiter."""
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


def _array(text: str, delimiter: str, convert_element: Callable[[str], Any]) -> list[Any]:
    """Lists in lists; an element that JSON does not hold exactly is text.

    Raises ValueError where the array says at which index it begins, which a list cannot.
    """
    if not text.startswith("{"):
        raise _Inexact
    root: list[Any] = []
    open_ = [root]
    for token in _TOKENS[delimiter].finditer(text):
        quoted, bare = token.groups()
        if quoted is not None:
            open_[-1].append(_element(_ESCAPED.sub(r"\1", quoted), convert_element))
        elif bare is not None:
            open_[-1].append(None if bare == "NULL" else _element(bare, convert_element))
        elif token[0] == "{":
            open_[-1].append(inner := list[Any]())
            open_.append(inner)
        else:
            open_.pop()
    return root[0]


def _element(text: str, convert_element: Callable[[str], Any]) -> Any:
    try:
        return convert_element(text)
    except (ValueError, RecursionError):
        return text
