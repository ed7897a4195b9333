"""What a request needs of the model that is to answer it, where it does not name one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

import msgspec

from liveweights.terms.needs import NOTHING, Ability, Needs

BYTES = 4
"""Of text in UTF-8 for each token: about what tokenizers make of English and code. What a prompt
really has depends on the model, which is not chosen yet."""
_PROMPTS = ("instructions", "input_prefix", "input_suffix", "input_extra", "tools", "suffix")
_CONVERSATIONS = ("messages", "input")
_ANSWERS = ("max_completion_tokens", "max_tokens", "max_output_tokens", "n_predict")
_MEDIA = frozenset(("image_url", "input_audio", "file_data", "file_url", "audio"))
_IMAGES = frozenset(("image_url", "input_image", "image"))
"""Types of content parts."""


def read_needs(members: Mapping[str, Any]) -> Needs:
    """Of the members of a request to any of the paths for answers, of whatever types they are."""
    return Needs(frozenset(_abilities(members)), _context(members))


def read_body_needs(body: bytes) -> Needs:
    """The same of a JSON object; nothing where it is none, which whoever answers will say."""
    try:
        members: Any = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return NOTHING
    return read_needs(cast(dict[str, Any], members)) if isinstance(members, dict) else NOTHING


def _abilities(members: Mapping[str, Any]) -> Iterator[Ability]:
    conversation = [members[name] for name in _CONVERSATIONS if members.get(name)]
    if conversation:
        yield "chat"
    elif members.get("suffix") or members.get("input_suffix") or members.get("input_extra"):
        yield "infill"
    elif members.get("prompt") or members.get("input_prefix"):
        yield "completion"
    if members.get("tools") and members.get("tool_choice") != "none":
        yield "tools"
    text: Any = members.get("text")
    formats = (members.get("response_format"), _get(text, "format"))
    if any(_get(one, "type") in ("json_object", "json_schema") for one in formats):
        yield "json"
    if any(_get(one, "type") in _IMAGES for one in _inside(conversation)):
        yield "vision"


def _context(members: Mapping[str, Any]) -> int:
    """Tokens of the prompt, as far as can be told, and of the answer, as far as it is asked for."""
    said = [members.get(name) for name in (*_CONVERSATIONS, *_PROMPTS)]
    asked = (members.get(name) for name in _ANSWERS)
    answer = next((one for one in asked if type(one) is int and one > 0), 0)
    return _tokens(said) + _longest(members.get("prompt")) + answer


def _longest(prompt: Any) -> int:
    """Each prompt of several has the context to itself."""
    several = isinstance(prompt, list) and not any(type(one) is int for one in _list(prompt))
    return max(map(_tokens, _list(prompt)), default=0) if several else _tokens(prompt)


def _tokens(value: Any) -> int:
    """Of all texts, and of token ids themselves."""
    size = ids = 0
    for one in _inside(value):
        if isinstance(one, str):
            size += len(one.encode(errors="replace"))
        elif type(one) is int:
            ids += 1
    return size // BYTES + ids


def _inside(value: Any) -> Iterator[Any]:
    """A value and all values in it, but what stands for images and sounds."""
    waiting: list[Any] = [value]
    while waiting:
        one = waiting.pop()
        yield one
        if isinstance(one, list):
            waiting += _list(one)
        elif isinstance(one, dict):
            members = cast(dict[str, Any], one)
            waiting += [inner for name, inner in members.items() if name not in _MEDIA]


def _list(value: Any) -> list[Any]:
    return cast(list[Any], value)


def _get(value: Any, name: str) -> Any:
    return cast(dict[str, Any], value).get(name) if isinstance(value, dict) else None
