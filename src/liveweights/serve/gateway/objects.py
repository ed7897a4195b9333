"""Objects that live at the upstream: where requests and answers name them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeGuard, cast

COLLECTIONS = (
    *("chat/completions", "responses", "conversations", "files", "uploads", "batches"),
    *("vector_stores", "containers", "fine_tuning/jobs", "videos"),
)
"""Below /v1/: a POST there makes an object, which is then at its id below."""

ITEMS = "responses/items"
"""Parts of an answer have ids of their own, by which a later input may name them: items of a
response, and what was spoken in a chat."""

_GROWING = {
    *(("batches", "GET", ""), ("batches", "POST", "cancel")),
    *(("uploads", "POST", "complete"), ("conversations", "POST", "items")),
}
"""Requests about an object whose answer may name a new one."""
_ACTIONS = {("responses", "compact"), ("responses", "input_tokens")}
"""Words that stand where an id would."""

_KEEPING = ("conversations", "files", "uploads")
"""Where a POST only keeps something."""

# Names of members, folded as some servers read them, whose value is an id or more of them.
_REFERENCES = {
    "previous_response_id": "responses",
    "conversation": "conversations",
    "file_id": "files",
    "file_ids": "files",
    "input_file_id": "files",
    "training_file": "files",
    "validation_file": "files",
    "vector_store_id": "vector_stores",
    "vector_store_ids": "vector_stores",
    "container": "containers",
    "container_id": "containers",
    "approval_request_id": ITEMS,
    "audio": ITEMS,
}
_BY_ID = ("conversation", "container", "audio")
"""Their value may also be an object with an ``id``."""
_NO_ID = ("audio",)
"""A text there is no id."""
_MADE = {"output_file_id": "files", "error_file_id": "files"}
_OPAQUE = ("metadata", "parameters", "schema")
"""Members that hold what the caller likes: nothing in them is looked up."""
_LISTED = ("input", "items")
"""Members that list a conversation's items."""
_CONTENT = {
    "message": "content",
    "custom_tool_call": "input",
    "apply_patch_call": "operation",
    "mcp_list_tools": "tools",
    "mcp_call": "output",
    **dict.fromkeys(("reasoning", "compaction"), "encrypted_content"),
    **dict.fromkeys(("function_call", "mcp_approval_request"), "arguments"),
    **dict.fromkeys(("computer_call", "local_shell_call", "shell_call"), "action"),
    **dict.fromkeys(("function_call_output", "custom_tool_call_output"), "output"),
    **dict.fromkeys(("computer_call_output", "local_shell_call_output"), "output"),
    **dict.fromkeys(("shell_call_output", "apply_patch_call_output"), "output"),
}
"""By type of item, the member that says all of it. Of any other, such as an image that was made or
a search, an upstream may know more than the item says, by its id."""
# Escapes may spell any of the names, and so may the two letters that fold to "s" and "k".
_MAY_REFER = re.compile(
    rb'\\u(?:00|017f|212a)|\xc5\xbf|\xe2\x84\xaa|"(?:'
    + "|".join((*_REFERENCES, *_LISTED)).encode()
    + rb')"',
    re.IGNORECASE,
)
ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:=-]{0,255}")

Reference = tuple[str, str]
"""Collection and id."""


@dataclass(frozen=True, slots=True)
class Target:
    """What a path below /v1/ is about. ``kind`` is a collection, or None; ``id`` is empty for the
    collection itself and for what it can do; ``below`` is what follows the id, or the latter."""

    kind: str | None = None
    id: str = ""
    below: str = ""

    def makes(self, method: str) -> bool:
        """Whether the answer to such a request names what it made, or what has been made since."""
        if self.kind is None:
            return False
        if not self.id:
            return method == "POST" and not self.below
        return (self.kind, method, self.below) in _GROWING

    @property
    def computes(self) -> bool:
        """Whether a POST there may let a model, or what else costs, work at the upstream."""
        return self.kind not in _KEEPING and self.below not in ("cancel", "input_tokens")


@lru_cache(maxsize=1024)
def find_target(path: str) -> Target:
    """Of a path that is clear (see ``paths``) and has no escapes."""
    rest = path[len("/v1/") :]
    for kind in COLLECTIONS:
        head, tail = rest[: len(kind)].lower(), rest[len(kind) :]
        if head != kind or tail[:1] not in ("", "/"):
            continue
        id, _, below = tail[1:].partition("/")
        if (kind, id) in _ACTIONS:
            return Target(kind, below=id)
        return Target(kind, id, below)
    return Target()


def find_references(body: bytes) -> list[Reference]:
    """Ids that a JSON body names; those of members that occur twice too, because servers differ
    in which one counts. Raises ValueError for what is not JSON in UTF-8."""
    text = body.decode()
    try:
        value = json.loads(text, object_pairs_hook=_Pairs)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    return list(dict.fromkeys(_walk(value)))


def may_refer(body: bytes) -> bool:
    """Whether ``find_references`` could find any: cheap, and never wrongly False for JSON."""
    return _MAY_REFER.search(body) is not None


def find_made(answer: bytes, target: Target) -> list[Reference]:
    """Ids of what a request to ``target`` has made, from its successful answer."""
    try:
        value = json.loads(answer)
    except (ValueError, RecursionError):
        return []
    if not isinstance(value, dict):
        return []
    members = cast(dict[str, Any], value)
    found: list[tuple[str, Any]] = []
    if target.kind and not target.id:
        found.append((target.kind, members.get("id")))
    if isinstance(file := members.get("file"), dict):  # of an upload that is complete
        found.append(("files", cast(dict[str, Any], file).get("id")))
    found.extend((kind, members.get(name)) for name, kind in _MADE.items())
    if target.kind == "conversations" and isinstance(data := members.get("data"), list):
        items = [item for item in cast(list[Any], data) if isinstance(item, dict)]
        found.extend((ITEMS, item.get("id")) for item in items)
    return [(kind, id) for kind, id in found if is_id(id)]


def is_id(value: object) -> TypeGuard[str]:
    """Whether it can be one: a text that is the same in a path, however that is read."""
    return isinstance(value, str) and ID.fullmatch(value) is not None


class _Pairs(list[tuple[str, Any]]):
    """The members of an object, in their order."""


def _walk(value: Any) -> Iterator[Reference]:
    waiting: list[Any] = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, _Pairs):
            for written, member in value:
                name = written.casefold()
                if name in _OPAQUE:
                    continue
                if kind := _REFERENCES.get(name):
                    yield from ((kind, id) for id in _ids(name, member))
                if name in _LISTED and isinstance(member, list):
                    yield from ((ITEMS, id) for id in _items(cast(list[Any], member)))
                waiting.append(member)
        elif isinstance(value, list):
            waiting.extend(cast(list[Any], value))


def _ids(name: str, value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield from () if name in _NO_ID else (value,)
    elif isinstance(value, _Pairs):
        yield from _said(value, "id") if name in _BY_ID else ()
    elif isinstance(value, list):
        yield from (id for id in cast(list[Any], value) if isinstance(id, str))


def _items(values: list[Any]) -> Iterator[str]:
    """Of items that are named rather than repeated: the upstream puts their content in."""
    for value in values:
        if isinstance(value, _Pairs) and not _is_whole(value):
            yield from _said(value, "id")


def _is_whole(item: _Pairs) -> bool:
    types = _said(item, "type") or (["message"] if _said(item, "role") else [])
    return bool(types) and all(_has(item, _CONTENT.get(one, "")) for one in types)


def _has(item: _Pairs, name: str) -> bool:
    values = [value for key, value in item if key.casefold() == name]
    nothing = (None, "") if name == "encrypted_content" else (None,)
    return bool(values) and not any(value in nothing for value in values)


def _said(members: _Pairs, name: str) -> list[str]:
    """The texts under ``name``, which may be there more than once."""
    return [value for key, value in members if key.casefold() == name and isinstance(value, str)]
