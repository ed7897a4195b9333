"""What a passing request asks for, as far as the record needs it."""

from __future__ import annotations

from typing import Any, cast

import msgspec
from msgspec import UNSET, Raw, UnsetType

from liveweights.http.errors import bad_request, unsupported
from liveweights.http.surrogates import without_halves
from liveweights.http.wire import invalid, not_json
from liveweights.record.clean import INT4
from liveweights.record.generation import Surface
from liveweights.serve.gateway.counts import Count, asked_text
from liveweights.serve.gateway.extent import ONE, Prompts, count_answers, find_limit, measure

CHATS, RESPONSES, COMPLETIONS = "/v1/chat/completions", "/v1/responses", "/v1/completions"
EMBEDDINGS = "/v1/embeddings"
RECORDED: dict[str, Surface] = {CHATS: "chat", RESPONSES: "chat", COMPLETIONS: "completion"}
"""The paths whose answers are recorded, and as what."""

_LIMITS = {
    CHATS: ("max_completion_tokens", "max_tokens", "n_predict"),
    RESPONSES: ("max_output_tokens",),
    COMPLETIONS: ("max_tokens", "n_predict"),
    EMBEDDINGS: (),
}
"""What limits an answer's tokens there; `n_predict` is llama.cpp's."""
_ANSWERS = ("n", "best_of")
_PROMPTS = {COMPLETIONS: "prompt", EMBEDDINGS: "input"}
"""Where there may be several prompts, or token ids."""


class _Asked(msgspec.Struct, omit_defaults=True):
    """What was put to the model; ``prompt_json`` of the record is made of these."""

    prompt: Raw | UnsetType = UNSET
    suffix: Raw | UnsetType = UNSET
    messages: Raw | UnsetType = UNSET
    instructions: Raw | UnsetType = UNSET
    input: Raw | UnsetType = UNSET
    tools: Raw | UnsetType = UNSET


class _Body(_Asked, kw_only=True):
    """A request body. Whether it is in order is the upstream's business: any value will do."""

    model: Any = None
    seed: Any = None
    max_tokens: Any = None
    max_completion_tokens: Any = None
    max_output_tokens: Any = None
    n_predict: Any = None
    user: Any = None
    metadata: Any = None
    store: Any = None
    stream: Any = None
    background: Any = None
    n: Any = None
    best_of: Any = None

    # What is drawn from, see ``_PLAIN``.
    temperature: Any = None
    top_p: Any = None
    top_k: Any = None
    min_p: Any = None
    typical_p: Any = None
    frequency_penalty: Any = None
    presence_penalty: Any = None
    repetition_penalty: Any = None
    repeat_penalty: Any = None
    logit_bias: Any = None
    response_format: Any = None
    tool_choice: Any = None
    structured_outputs: Any = None
    guided_json: Any = None
    guided_regex: Any = None
    guided_choice: Any = None
    guided_grammar: Any = None
    json_schema: Any = None
    grammar: Any = None


_decode = msgspec.json.Decoder(_Body).decode

_PLAIN: dict[str, tuple[Any, ...]] = {
    "temperature": (1,),
    "top_p": (1,),
    "top_k": (0, -1),
    "min_p": (0,),
    "typical_p": (1,),
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "repetition_penalty": (1,),
    "repeat_penalty": (1,),
    "logit_bias": ({},),
    "response_format": ({"type": "text"},),
    "tool_choice": ("auto", "none"),
    **dict.fromkeys(("structured_outputs", "json_schema"), ({},)),
    **dict.fromkeys(("guided_json", "guided_regex", "guided_choice", "guided_grammar"), ()),
    "grammar": ("",),
}
"""Parameters that make a server draw from another distribution than the model's own, by OpenAI's,
vLLM's and llama.cpp's names; and the values with which they do not."""

_GIVEN: tuple[tuple[str, ...], ...] = (
    ("temperature",),
    ("top_p",),
    ("top_k",),
    ("min_p",),
    ("repetition_penalty", "repeat_penalty"),
)
"""Those, by either name, that servers have defaults of their own for: vLLM and SGLang the model's
(``generation_config.json``), llama.cpp its authors'."""


class Question:
    """A request to one of the paths whose answers are recorded, or for embeddings. What is not of
    its type is left out."""

    __slots__ = ("_asked", "_body", "_path", "_prompt", "_prompts")

    def __init__(self, body: _Body, path: str) -> None:
        self._body = body
        self._path = path
        self._prompt: str | None = None
        self._asked: int | None = None
        self._prompts: Prompts | None = None

    @property
    def model(self) -> str:
        """Empty where the upstream chooses."""
        return self._body.model if isinstance(self._body.model, str) else ""

    def put_to(self, model: str) -> Question:
        """The same, asked of another model."""
        same = Question(msgspec.structs.replace(self._body, model=model), self._path)
        same._prompt, same._asked, same._prompts = self._prompt, self._asked, self._prompts
        return same

    @property
    def temperature(self) -> float | None:
        return _number(self._body.temperature)

    @property
    def top_p(self) -> float | None:
        return _number(self._body.top_p)

    @property
    def plain(self) -> bool:
        """Whether the model's own distribution was certainly sampled from: nothing that was asked
        changes it, and nothing was left to the upstream's defaults."""
        given = {name: value for name in _PLAIN if (value := getattr(self._body, name)) is not None}
        told = all(any(name in given for name in names) for names in _GIVEN)
        return told and all(value in _PLAIN[name] for name, value in given.items())

    @property
    def seed(self) -> int | None:
        return self._body.seed if type(self._body.seed) is int else None

    @property
    def limit(self) -> int:
        """Most tokens of each answer, 0 where none was given."""
        return find_limit(getattr(self._body, name) for name in _LIMITS[self._path])

    @property
    def reserved(self) -> int:
        """The same, as far as tokens are counted."""
        return min(self.limit, INT4)

    @property
    def choices(self) -> int:
        """How many answers are sampled, to all prompts."""
        if self._path == EMBEDDINGS:
            return 0
        each = count_answers(getattr(self._body, name) for name in _ANSWERS)
        return each * self._measured().number

    @property
    def streams(self) -> bool:
        """Whether the answer shall come in pieces."""
        return bool(self._body.stream)

    def check(self) -> None:
        """Raises ApiError 400 for a response in the background: it is answered at once, without
        anything that could be recorded, and the answer is there for any later request."""
        if self._path == RESPONSES and self._body.background not in (None, False):
            message = (
                "Answers are recorded and charged here as they pass, which those made in the "
                "background do not; ask without 'background', with 'stream' where it takes long."
            )
            raise unsupported("background", message)

    @property
    def user(self) -> str | None:
        return self._body.user if isinstance(self._body.user, str) else None

    @property
    def store(self) -> bool | None:
        """Whether the upstream shall keep the answer; None: as it does by itself."""
        return self._body.store if isinstance(self._body.store, bool) else None

    @property
    def said(self) -> dict[str, str]:
        """Metadata, without what is not text."""
        metadata = self._body.metadata
        if not isinstance(metadata, dict):
            return {}
        given = cast(dict[str, Any], metadata)
        return {name: value for name, value in given.items() if isinstance(value, str)}

    def prompt_json(self) -> str:
        """What was asked, as one JSON object with the request's own words."""
        if self._prompt is None:
            self._prompt = self._write_prompt()
        return self._prompt

    def count_prompt(self, count: Count) -> int:
        """About how many tokens were asked. It is counted once, with the first ``count``."""
        if self._asked is None:
            self._asked = count(asked_text(self.prompt_json())) + self._measured().ids
        return self._asked

    def _measured(self) -> Prompts:
        if self._prompts is None:
            name = _PROMPTS.get(self._path)
            prompt: Raw | UnsetType = UNSET if name is None else getattr(self._body, name)
            self._prompts = ONE if isinstance(prompt, UnsetType) else measure(bytes(prompt))
        return self._prompts

    def _write_prompt(self) -> str:
        asked = {name: getattr(self._body, name) for name in _Asked.__struct_fields__}
        given = {name: value for name, value in asked.items() if value is not UNSET}
        return msgspec.json.encode(given).decode("utf-8", "replace")

    def prompt_ids(self) -> list[int]:
        """The prompt's token ids where it was sent as such, else none."""
        prompt = self._body.prompt
        if isinstance(prompt, UnsetType) or not bytes(prompt).lstrip().startswith(b"["):
            return []
        try:
            return msgspec.json.decode(prompt, type=list[int])
        except msgspec.DecodeError:
            return []


def read_question(body: bytes, path: str) -> Question:
    """What is asked of ``path``: ``EMBEDDINGS``, or one of ``RECORDED``. Raises ApiError 400 for
    what is no JSON object: some servers would answer it, and nobody could say what it may use. Half
    of a surrogate pair is read as U+FFFD."""
    try:
        return Question(_decode(body), path)
    except msgspec.ValidationError as error:
        raise invalid(error, body, _Body) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        mended = without_halves(body)
        if mended == body:
            raise not_json(error) from None
        return read_question(mended, path)
    except RecursionError:
        raise bad_request("The request body is nested too deeply.") from None


def _number(value: Any) -> float | None:
    return value if type(value) in (int, float) else None
