"""What a request needs of the model that is to answer it, where it does not name one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, cast

import msgspec

from liveweights.terms.needs import NOTHING, Ability, Needs

BYTES = 4
"""Of text in UTF-8 for each token: about what tokenizers make of English and code. What a prompt
really has depends on the model, which is not chosen yet."""
_PROMPTS = ("instructions", "input_prefix", "input_suffix", "input_extra", "tools", "suffix")
_CONVERSATIONS = ("messages", "input")
_ANSWERS = ("max_completion_tokens", "max_tokens", "max_output_tokens", "n_predict")
_MEDIA = frozenset(("image_url", "input_audio", "file_data", "file_url", "audio"))
_IMAGES = ("image_url", "input_image", "image")
"""Types of content parts."""
_JSON = ("json_object", "json_schema")


def read_needs(members: Mapping[str, Any]) -> Needs:
    """Of the members of a request to any of the paths for answers, of whatever types they are."""
    said = [members[name] for name in _CONVERSATIONS if members.get(name)]
    conversation = _look(said)
    beside = _look([members[name] for name in _PROMPTS if members.get(name)])
    asked = [one for name in _ANSWERS if type(one := members.get(name)) is int and one > 0]
    answer = asked[0] if asked else 0
    prompt = members.get("prompt")
    prompts = 0 if prompt is None else _longest(prompt)
    read = (conversation.size + beside.size) // BYTES + conversation.ids + beside.ids
    abilities = frozenset(_abilities(members, bool(said), conversation.sees))
    return Needs(abilities, read + prompts + answer)


def read_body_needs(body: bytes) -> Needs:
    """The same of a JSON object; nothing where it is none, which whoever answers will say."""
    try:
        members: Any = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return NOTHING
    return read_needs(cast(dict[str, Any], members)) if isinstance(members, dict) else NOTHING


def _abilities(members: Mapping[str, Any], chats: bool, sees: bool) -> Iterator[Ability]:
    if chats:
        yield "chat"
    elif members.get("suffix") or members.get("input_suffix") or members.get("input_extra"):
        yield "infill"
    elif members.get("prompt") or members.get("input_prefix"):
        yield "completion"
    if members.get("tools") and members.get("tool_choice") != "none":
        yield "tools"
    forms = members.get("response_format"), _get(members.get("text"), "format")
    if _get(forms[0], "type") in _JSON or _get(forms[1], "type") in _JSON:
        yield "json"
    if sees:
        yield "vision"


class _Looked(NamedTuple):
    """``size`` of all texts in bytes, how many token ids, and whether there are images."""

    size: int
    ids: int
    sees: bool


def _look(value: Any) -> _Looked:
    """At all values in it, but what stands for images and sounds. It is done for every request
    that names no model: one loop, in which nothing is called that need not be."""
    size, ids, sees = 0, 0, False
    waiting: list[Any] = [value]
    while waiting:
        one = waiting.pop()
        if type(one) is str:
            size += len(one) if one.isascii() else len(one.encode(errors="replace"))
        elif type(one) is dict:
            for name, inner in cast(dict[str, Any], one).items():
                if name == "type" and inner in _IMAGES:
                    sees = True
                if name not in _MEDIA:
                    waiting.append(inner)
        elif type(one) is list:
            waiting += cast(list[Any], one)
        elif type(one) is int:
            ids += 1
    return _Looked(size, ids, sees)


def _longest(prompt: Any) -> int:
    """Tokens of a prompt, or of the longest of several: each has the context to itself."""
    listed = cast(list[Any], prompt) if type(prompt) is list else []
    several = listed and not any(type(one) is int for one in listed)
    looked = map(_look, listed if several else [prompt])
    return max(one.size // BYTES + one.ids for one in looked)


def _get(value: Any, name: str) -> Any:
    return cast(dict[str, Any], value).get(name) if isinstance(value, dict) else None
