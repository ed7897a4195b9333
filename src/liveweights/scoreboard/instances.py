"""The ids of all instances of a benchmark, for results that do not name those that failed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import msgspec

from liveweights.scoreboard.results import ScoreboardError

IDS = ("instance_id", "case", "id", "task_id")


def parse_instances(text: str) -> tuple[str, ...]:
    """Ids, each once, in their order: one a line, a JSON list of ids or of objects with one, an
    object whose names they are, or JSON lines. Raises ScoreboardError where there is none."""
    try:
        value = msgspec.json.decode(text)
    except msgspec.DecodeError:
        value = None
    match value:
        case dict():
            found = [str(name) for name in cast(dict[str, Any], value)]
        case list():
            found = _read(cast(list[Any], value))
        case _:
            found = _read(_decode(line) for line in map(str.strip, text.split("\n")) if line)
    if not found:
        raise ScoreboardError("there are no ids of instances in it")
    return tuple(dict.fromkeys(found))


def _decode(line: str) -> object:
    if line[0] not in '{"':
        return line
    try:
        return msgspec.json.decode(line)
    except msgspec.DecodeError as error:
        raise ScoreboardError(f"{line[:40]!r} is neither an id nor JSON: {error}") from error


def _read(items: Iterable[object]) -> list[str]:
    found: list[str] = []
    for number, item in enumerate(items, 1):
        id_ = find_id(cast(dict[str, Any], item)) if isinstance(item, dict) else item
        if not isinstance(id_, str | int):
            raise ScoreboardError(f"instance {number} has no id, nor one of {', '.join(IDS)}")
        found.append(str(id_))
    return found


def find_id(values: dict[str, Any]) -> object:
    """What an object says of which instance it is; None where it does not."""
    return next((values[name] for name in IDS if name in values), None)
