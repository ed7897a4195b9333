"""The models that are asked: what a service says of each, and what its answers cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import aiohttp
import msgspec

from liveweights.meter.money import NANOS
from liveweights.scoreboard.results import ScoreboardError


class Pricing(msgspec.Struct, frozen=True):
    """Of a million tokens, but ``request``, in units of ``currency``. Without a price of their own
    tokens of thought cost what others of the answer do."""

    input: float | None = None
    output: float | None = None
    currency: str = "USD"
    reasoning: float | None = None
    request: float | None = None


class Entrant(msgspec.Struct, frozen=True):
    """As ``GET /v1/models/NAME`` says it. ``hosted`` models are answered by somebody else's
    machine. What a service calls ``liveweights``' own has checkpoints that it loads itself."""

    id: str
    checkpoint: str | None = None
    base: str | None = None
    pricing: Pricing | None = None
    data: dict[str, Any] | None = None
    owned_by: str = ""

    @property
    def asked(self) -> str:
        """By which name every case is asked: of a local model the checkpoint whose scores they are,
        as a canary, or a promotion meanwhile, would answer under its public name, too."""
        return self.held or self.id

    @property
    def held(self) -> str | None:
        """The checkpoint that has to stay loaded meanwhile; None where another service has it."""
        return self.checkpoint if self.owned_by == "liveweights" else None

    @property
    def hosted(self) -> bool:
        return bool((self.data or {}).get("sent_to"))

    @property
    def currency(self) -> str | None:
        return self.pricing.currency if self.pricing and self.pricing.input is not None else None

    @property
    def is_priced(self) -> bool:
        """Whether answers cost anything, or may: of a hosted model that is not known to be free."""
        pricing = self.pricing or Pricing()
        if self.hosted and None in (pricing.input, pricing.output):
            return True
        return any((pricing.input, pricing.output, pricing.reasoning, pricing.request))

    def cost(
        self, prompt: int, completion: int, reasoning: int = 0, requests: int = 1
    ) -> int | None:
        """Billionths of the currency, rounded to the nearest, of tokens, ``reasoning`` among
        ``completion``, and requests; None where it has no price."""
        pricing = self.pricing
        if pricing is None or pricing.input is None or pricing.output is None:
            return None
        thought = pricing.output if pricing.reasoning is None else pricing.reasoning
        millionths = (
            prompt * _exact(pricing.input)
            + (completion - reasoning) * _exact(pricing.output)
            + reasoning * _exact(thought)
        )
        whole = millionths / 10**6 + requests * _exact(pricing.request or 0)
        return int((whole * NANOS).to_integral_value())


@dataclass(slots=True)
class Counter:
    """Tokens of one attempt, over all of its requests; None once an answer did not count them, or
    did not come. ``reasoning`` are among ``completion``, as far as answers say it."""

    prompt: int | None = 0
    completion: int | None = 0
    reasoning: int = 0
    requests: int = 0

    def add(self, usage: Mapping[str, Any]) -> None:
        """An answer's ``usage``."""
        self.prompt = _add(self.prompt, usage.get("prompt_tokens"))
        self.completion = _add(self.completion, usage.get("completion_tokens"))
        details = usage.get("completion_tokens_details") or {}
        self.reasoning += details.get("reasoning_tokens") or 0
        self.requests += 1

    def cost(self, entrant: Entrant) -> int | None:
        """What ``entrant`` asks for it; None where that is not known."""
        if self.prompt is None or self.completion is None:
            return None
        return entrant.cost(self.prompt, self.completion, self.reasoning, self.requests)


def _exact(price: float) -> Decimal:
    return Decimal(repr(price))


def _add(sum_: int | None, tokens: object) -> int | None:
    return sum_ + tokens if sum_ is not None and isinstance(tokens, int) else None


async def find_entrants(url: str, names: Sequence[str], key: str = "") -> list[Entrant]:
    """Raises ScoreboardError for a model that the service at ``url`` does not have, a key that it
    does not take, or prices in several currencies; aiohttp.ClientError where it is away."""
    if len(set(names)) < len(names):
        raise ScoreboardError("a model is named twice; --twice NAME scores one a second time")
    headers = {"authorization": f"Bearer {key}"} if key else {}
    async with aiohttp.ClientSession(headers=headers) as session:
        entrants = [await _find(session, url.rstrip("/"), name) for name in names]
    currencies = sorted({one.currency for one in entrants if one.currency})
    if len(currencies) > 1:
        raise ScoreboardError(
            f"prices are in {' and '.join(currencies)}: what a solved task costs compares in one"
            " currency only; set [prices] of these models in one"
        )
    return entrants


async def _find(session: aiohttp.ClientSession, url: str, name: str) -> Entrant:
    async with session.get(f"{url}/v1/models/{name}") as response:
        if response.status in (401, 403):
            raise ScoreboardError(f"{url} does not accept the key: set OPENAI_API_KEY, or --key")
        if response.status != 200:
            raise ScoreboardError(
                f"{url} has no model {name!r}; `liveweights models list` shows those that there are"
            )
        told = msgspec.json.decode(await response.read(), type=Entrant)
        return msgspec.structs.replace(told, id=name)
