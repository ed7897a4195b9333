"""The parameters that requests for answers have in common."""

from __future__ import annotations

from collections.abc import Container
from typing import Annotated, Any, ClassVar, TypedDict

import msgspec
from msgspec import Meta

from liveweights import bounds
from liveweights.engines.protocol import Constraint, Sampling
from liveweights.http.errors import bad_request
from liveweights.http.wire import StoredText

INT64 = 2**63
MAX_LOGPROBS = 20
MAX_CHOICES = 16
MAX_BIASES = 1024
GUIDANCE = {
    "frequency_penalty": 0.0,
    "presence_penalty": 0.0,
    "repetition_penalty": 1.0,
    "min_p": 0.0,
}
"""And the value of each that changes nothing."""
# Dividing logits by less than this overflows, and leaves the most likely token anyway.
COLD = 1e-3

StopString = Annotated[str, Meta(min_length=1, max_length=4096)]
TokenId = Annotated[str, Meta(pattern=r"^[0-9]{1,9}$")]
Bias = Annotated[float, Meta(ge=-100, le=100)]
MetadataKey = Annotated[StoredText, Meta(max_length=64)]
MetadataValue = Annotated[StoredText, Meta(max_length=512)]


def sampling_temperature(asked: float | None, *, default: float) -> float:
    """Below COLD it is taken as 0: the two cannot be told apart."""
    temperature = default if asked is None else asked
    return temperature if temperature >= COLD else 0.0


class StreamOptions(msgspec.Struct, forbid_unknown_fields=True):
    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class Draw(TypedDict):
    """The part of ``Sampling`` that says how tokens are drawn."""

    temperature: float
    top_p: float
    top_k: int
    seed: int | None
    min_p: float
    frequency_penalty: float
    presence_penalty: float
    repetition_penalty: float


class BaseRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What every request for an answer may say: OpenAI's names, and vLLM's beside them.

    Null means the default everywhere, and a ``top_k`` of -1 or 0 no limit.
    """

    kept: ClassVar[bool] = False
    """Whether the whole request is stored."""

    model: Annotated[str, Meta(min_length=1, max_length=512)]
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    top_k: Annotated[int, Meta(ge=-1, le=2**31 - 1)] | None = None
    seed: Annotated[int, Meta(ge=-INT64, le=INT64 - 1)] | None = None
    stream: bool | None = None
    user: Annotated[StoredText, Meta(max_length=512)] | None = None
    metadata: Annotated[dict[MetadataKey, MetadataValue], Meta(max_length=16)] | None = None

    route: Annotated[
        Any,
        Meta(
            description="What the model that answers must be: an object with any of `allow`, "
            "`deny`, `max_price`, `min_context`, `local_only`, `learnable`, `suite` with "
            "`min_score`, and `fallback`."
        ),
    ] = None

    # Accepted and without effect on the answer: hints to OpenAI's own infrastructure.
    service_tier: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: str | None = None

    # What engines follow that know how likely a token was when it was drawn (``guidance``).
    frequency_penalty: Annotated[float, Meta(ge=-2, le=2)] | None = None
    presence_penalty: Annotated[float, Meta(ge=-2, le=2)] | None = None
    repetition_penalty: Annotated[float, Meta(gt=0, le=10)] | None = None
    min_p: Annotated[float, Meta(ge=0, le=1)] | None = None

    def check(self) -> None:
        """Raises ApiError 400 for what does not fit together, or would change the answer and is not
        done here."""

    def unmet(self) -> dict[str, str]:
        """Parameters without which the answer is an answer too, and that are not followed here;
        each with what is said of it to who wants to know."""
        return {}

    def leave_out_guidance(self, followed: Container[str]) -> list[str]:
        """For an engine that follows only some; the names of what was asked for beside."""
        asked = [
            name
            for name, same in GUIDANCE.items()
            if name not in followed and getattr(self, name) not in (None, same)
        ]
        for name in asked:
            setattr(self, name, None)
        return asked

    def draw(self, *, temperature: float, top_p: float, top_k: int) -> Draw:
        """How tokens are drawn, where the request does not say: with these. A ``top_p`` of 0 leaves
        the most likely token, as a temperature of 0 does."""
        likeliest = self.top_p == 0
        asked = 0.0 if likeliest else self.temperature
        return {
            "temperature": sampling_temperature(asked, default=temperature),
            "top_p": 1.0 if likeliest else top_p if self.top_p is None else self.top_p,
            "top_k": max(0, top_k if self.top_k is None else self.top_k),
            "seed": self.seed,
            "min_p": self.min_p or 0.0,
            "frequency_penalty": self.frequency_penalty or 0.0,
            "presence_penalty": self.presence_penalty or 0.0,
            "repetition_penalty": self.repetition_penalty or 1.0,
        }


class GenerationRequest(BaseRequest, kw_only=True, forbid_unknown_fields=True):
    """What completions and chat have in common."""

    max_tokens: Annotated[int, Meta(ge=1, le=2**31 - 1)] | None = None
    stop: StopString | Annotated[list[StopString], Meta(max_length=bounds.STOPS)] | None = None
    n: Annotated[int, Meta(ge=1, le=MAX_CHOICES)] | None = None
    logit_bias: Annotated[dict[TokenId, Bias], Meta(max_length=MAX_BIASES)] | None = None
    stream_options: StreamOptions | None = None
    store: bool | None = None

    def check(self) -> None:
        if self.stream_options is not None and not self.stream:
            raise bad_request(
                "'stream_options' is only allowed together with 'stream': true.",
                "stream_options",
                "invalid_value",
            )

    def check_vocabulary(self, size: int) -> None:
        """Refuses token ids that the model does not have. Raises ApiError."""
        for token in self.logit_bias or ():
            if int(token) >= size:
                message = f"Token id {token} in 'logit_bias' is not in [0, {size})."
                raise bad_request(message, "logit_bias", "invalid_value")

    def sampling(
        self,
        max_tokens: int,
        *,
        skip: str = "",
        top_logprobs: int = 0,
        constraint: Constraint | None = None,
    ) -> Sampling:
        stop = (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())
        return Sampling(
            max_tokens=max_tokens,
            **self.draw(temperature=1.0, top_p=1.0, top_k=0),
            stop=stop,
            skip=skip,
            top_logprobs=top_logprobs,
            logit_bias=tuple((int(id), bias) for id, bias in (self.logit_bias or {}).items()),
            constraint=constraint,
        )

    @property
    def include_usage(self) -> bool:
        return self.stream_options is not None and bool(self.stream_options.include_usage)
