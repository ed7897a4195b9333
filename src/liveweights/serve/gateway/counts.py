"""How many tokens a question and its answer are, where the upstream does not say."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, cast

import msgspec
from msgspec import Meta

from liveweights.record.clean import INT4

Count = Callable[[str], int]
"""Tokens of a text."""

ESTIMATED = "estimated"
"""The name that stands with 1 among the counts of which one is an estimate."""
BYTES = 4
"""Of a token, in English: OpenAI's rule of thumb ("What are tokens and how to count them?").
Scripts with several bytes to a character have fewer characters to a token."""
READ = 1 << 16
"""Characters that a tokenizer is given; what follows counts in proportion."""

_LINKS = ("url", "image_url", "audio_url", "video_url", "file_url", "file_data")
"""Members where a file may stand as a `data:` URL. Anywhere else that is a text like others."""


class UnreadableTokenizer(ValueError):
    """The settings name a tokenizer that cannot be read."""


def count_bytes(text: str) -> int:
    """One token for ``BYTES`` bytes of UTF-8."""
    return -(-len(text.encode("utf-8", "surrogatepass")) // BYTES)


def find_counter(path: str) -> Count:
    """Count with the tokenizer in ``path``, a model's folder or its ``tokenizer.json``; by bytes
    where that is empty.

    Raises UnreadableTokenizer where there is none that can be read.
    """
    if not path:
        return count_bytes
    from tokenizers import Tokenizer

    file = Path(path).expanduser()
    file = file / "tokenizer.json" if file.is_dir() else file
    try:
        tokenizer = Tokenizer.from_file(str(file))
    except Exception as error:  # the library raises nothing narrower
        raise UnreadableTokenizer(
            f"gateway.tokenizer: {file} cannot be read ({error}). Name the folder of the upstream's"
            " model or its tokenizer.json, or leave it out."
        ) from error

    def count(text: str) -> int:
        tokens = len(tokenizer.encode(text[:READ], add_special_tokens=False).ids)
        return -(-tokens * len(text) // READ) if len(text) > READ else tokens

    return count


class _Usage(msgspec.Struct):
    prompt_tokens: Annotated[int, Meta(ge=0, le=INT4)]


class _Counted(msgspec.Struct):
    usage: _Usage


_decode = msgspec.json.Decoder(_Counted).decode


def read_prompt_tokens(answer: bytes) -> int | None:
    """What an upstream has counted of the prompt; None where its answer does not say."""
    try:
        return _decode(answer).usage.prompt_tokens
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def fill(usage: Mapping[str, int], **missing: Callable[[], int]) -> dict[str, int]:
    """``usage`` with the counts that it lacks, and a mark where it lacked one."""
    lacking = {name: count() for name, count in missing.items() if name not in usage}
    return {**usage, **lacking, ESTIMATED: 1} if lacking else dict(usage)


def with_thoughts(usage: Mapping[str, int]) -> dict[str, int]:
    """``usage`` as OpenAI counts: what was thought is among ``completion_tokens``. xAI counts it
    beside them, and both in the total (https://docs.x.ai, "Consumption and Rate Limits")."""
    thought, answered = usage.get("reasoning_tokens", 0), usage.get("completion_tokens", 0)
    total = usage.get("prompt_tokens", 0) + answered + thought
    if thought <= 0 or (thought <= answered and usage.get("total_tokens") != total):
        return dict(usage)
    return {**usage, "completion_tokens": answered + thought}


def texts(value: Any) -> Iterator[str]:
    """Every text in a JSON value, however deep, but for data in place of a link: the roles and
    names among them stand for the few tokens that a template puts around each message."""
    waiting: list[Any] = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, str):
            yield one
        elif isinstance(one, dict):
            members = cast(dict[str, Any], one).items()
            waiting.extend(reversed([one for name, one in members if not _is_data(name, one)]))
        elif isinstance(one, list):
            waiting.extend(reversed(cast(list[Any], one)))


def _is_data(name: str, value: Any) -> bool:
    return name in _LINKS and isinstance(value, str) and value.startswith("data:")


def asked_text(prompt_json: str) -> str:
    """What was asked, without JSON's own signs but for those of the tools; see
    ``Question.prompt_json``."""
    try:
        asked: dict[str, Any] = msgspec.json.decode(prompt_json)
    except (msgspec.DecodeError, RecursionError):
        return prompt_json  # a number beyond all bounds: it counts as it is written
    tools = asked.pop("tools", None)
    said = list(texts(asked))
    if tools:
        said.append(msgspec.json.encode(tools).decode())
    return "\n".join(said)
