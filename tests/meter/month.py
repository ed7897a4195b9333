"""Made-up answers of two months, and what they cost: worked out apart from the product's code, in
fractions, from the answers themselves."""

from __future__ import annotations

import random
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from functools import cache, cached_property
from typing import Any
from zoneinfo import ZoneInfo

from liveweights.meter.price_book import PlanChange
from liveweights.meter.price_rows import add_price
from liveweights.meter.prices import PriceRow
from liveweights.record.generation import Generation
from liveweights.store.database import Connection

BEGIN = datetime(2024, 2, 28, tzinfo=UTC)
END = datetime(2024, 4, 2, tzinfo=UTC)
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Pacific/Auckland")
MODELS = ("code", "chat", "hosted")
PLANS = ("", "basic", "pro")
TOKENS = range(50_000)
LONG_AGO = timedelta(days=-5000)
"""As a lead: prices of the past can be added, before anything has been charged."""


@dataclass(frozen=True)
class Asked:
    """A price as it was agreed: dollars per million tokens, and per request."""

    since: datetime
    side: str
    model: str | None
    tenant: str | None
    plan: str | None
    currency: str
    input: Fraction
    cached: Fraction
    output: Fraction
    reasoning: Fraction
    request: Fraction
    markup: Fraction | None
    free_if_withheld: bool


@dataclass(frozen=True, eq=False)
class Month:
    tenants: tuple[str, ...]
    zones: dict[str, str]
    prices: list[Asked]
    plans: list[PlanChange]

    @cached_property
    def edges(self) -> list[datetime]:
        """When a price or a plan begins to hold."""
        return sorted({one.since for one in (*self.prices, *self.plans)})

    def name_month(self, g: Generation) -> str:
        """Where the tenant is."""
        return f"{g.created_at.astimezone(ZoneInfo(self.zones[g.tenant])):%Y-%m}"


def make_month(rng: random.Random, tenants: int) -> Month:
    names = tuple(f"tenant-{n}" for n in range(tenants))
    zones = {name: ZONES[n % len(ZONES)] for n, name in enumerate(names)}
    early = datetime(2024, 1, 1, tzinfo=UTC)
    prices = [
        *(_asked(rng, early, model=model) for model in ("code", "chat")),
        _asked(rng, early, side="cost", model="hosted"),
        _asked(rng, early, model="hosted", markup=Fraction(rng.randrange(0, 400_000), 10**6)),
        _asked(rng, early, plan="pro"),
        _asked(rng, early, model="code", plan="pro"),
        _asked(rng, early, model="chat", tenant=names[0], currency="EUR"),
    ]
    for zone in ZONES:  # at midnight of the first, where each is
        midnight = datetime(2024, 3, 1, tzinfo=ZoneInfo(zone)).astimezone(UTC)
        prices.append(_asked(rng, midnight, model=rng.choice(("code", "chat", None))))
    prices.append(_asked(rng, datetime(2024, 3, 31, 2, tzinfo=UTC), side="cost", model="hosted"))
    plans = [
        PlanChange(name, rng.choice(PLANS), early + timedelta(days=rng.randrange(90)))
        for name in names
        for _ in range(rng.choice((0, 1, 2)))
    ]
    return Month(names, zones, prices, plans)


def _asked(rng: random.Random, since: datetime, **changes: Any) -> Asked:
    def money(most: int) -> Fraction:
        return Fraction(rng.randrange(most), 10**9)

    whose: dict[str, Any] = {"model": None, "tenant": None, "plan": None, "side": "sale"}
    marked_up = changes.get("markup") is not None
    values: dict[str, Any] = {
        "since": since,
        "currency": "USD",
        "input": Fraction(0) if marked_up else money(10**9),
        "cached": Fraction(0) if marked_up else money(10**8),
        "output": Fraction(0) if marked_up else money(4 * 10**9),
        "reasoning": Fraction(0) if marked_up else money(4 * 10**9),
        "request": money(10**5),
        "markup": None,
        "free_if_withheld": rng.random() < 0.7,
    }
    return Asked(**{**whose, **values, **changes})


async def add_month(conn: Connection, month: Month) -> None:
    """The prices and plans as rows."""
    for asked in month.prices:
        markup = None if asked.markup is None else int(asked.markup * 10**6)
        row = PriceRow(
            since=asked.since,
            side=asked.side,  # type: ignore[arg-type]
            model=asked.model,
            tenant=asked.tenant,
            plan=asked.plan,
            currency=asked.currency,
            input=int(asked.input * 10**9),
            cached_input=int(asked.cached * 10**9),
            output=int(asked.output * 10**9),
            reasoning=int(asked.reasoning * 10**9),
            request=int(asked.request * 10**9),
            markup_ppm=markup,
            withheld="free" if asked.free_if_withheld else "charged",
        )
        await add_price(conn, row, lead=LONG_AGO)
    for plan in month.plans:
        await conn.execute(
            "insert into plan_changes (tenant, plan, since) values (%s, %s, %s)",
            (plan.tenant, plan.plan, plan.since),
        )


def make_answers(
    rng: random.Random, month: Month, requests: int, first: int = 0
) -> Iterator[Generation]:
    """Answers of so many requests, numbered from ``first`` on: whole ones, with several choices,
    left by their clients, broken off by us, withheld, and from an upstream that counts for
    itself."""
    edges = [datetime(2024, 3, day, tzinfo=ZoneInfo(zone)) for zone in ZONES for day in (1, 31)] + [
        datetime(2024, 4, 1, tzinfo=ZoneInfo(zone)) for zone in ZONES
    ]
    for number in range(first, first + requests):
        if rng.random() < 0.3:  # around an edge, and on it
            at = rng.choice(edges) + timedelta(microseconds=rng.choice((-1, 0, 1, 10**9)))
        else:
            at = BEGIN + rng.random() * (END - BEGIN)
        yield from _request(rng, month, number, at.astimezone(UTC))


def _request(rng: random.Random, month: Month, number: int, at: datetime) -> Iterator[Generation]:
    tenant, model = rng.choice(month.tenants), rng.choice(MODELS)
    prompt = rng.choices(TOKENS, k=rng.randrange(1, 40))
    choices = rng.choice((1, 1, 1, 2, 4))
    user = rng.choice(("ada", "bob", None))
    for index in range(choices):
        output = rng.choices(TOKENS, k=rng.randrange(0, 20))
        usage: dict[str, int] = {}
        how = rng.choice(("whole", "whole", "left", "broken", "withheld", "failed"))
        if model == "hosted":
            usage = {"prompt_tokens": 3 * len(prompt), "completion_tokens": 2 * len(output)}
            usage |= {"cached_tokens": rng.randrange(60), "reasoning_tokens": rng.randrange(20)}
            how = rng.choice(("whole", "left"))
        if index:
            usage |= {"prompt_tokens": 0, "requests": 0}
            usage.setdefault("completion_tokens", len(output))
        if how in ("broken", "failed"):
            usage["sent_tokens"] = rng.randrange(len(output) + 1)
        reasons = {"left": "cancelled", "broken": "cancelled", "failed": "error"}
        yield Generation(
            id=f"answer-{number}.{index}",
            created_at=at,
            alias=model,
            checkpoint=f"{model}@upstream" if model == "hosted" else "m@000000000000",
            endpoint="chat",
            prompt_ids=prompt,
            output_ids=output,
            logprobs=[],
            raw_logprobs=[],
            output="" if how == "withheld" else "x" * len(output),
            finish_reason=reasons.get(how, "stop"),
            temperature=1.0,
            top_p=1.0,
            tenant=tenant,
            user=user,
            usage=usage,
            selection=-0.5 if how == "withheld" else None,
            key=f"key{number % 3}",
        )


@dataclass(frozen=True)
class Owed:
    """In nanos."""

    currency: str
    amount: int
    cost: int


def owed(month: Month, g: Generation) -> Owed:
    """What one answer costs, and what its upstream asks."""
    era = bisect_right(month.edges, g.created_at)
    sale, cost = (_holding(month, side, g.tenant, g.alias, era) for side in ("sale", "cost"))
    prompt = g.usage.get("prompt_tokens", len(g.prompt_ids))
    output = g.usage.get("completion_tokens", len(g.output_ids))
    cached = min(prompt, g.usage.get("cached_tokens", 0))
    thought = min(output, g.usage.get("reasoning_tokens", 0))
    first = g.usage.get("requests", 1)
    asked = 0
    if cost is not None:
        asked = round(10**9 * _bill(cost, prompt, cached, output, thought, first))
    if sale is None:
        return Owed("XXX", 0, asked)
    seen = g.output != "" or g.selection is None
    if not seen and sale.free_if_withheld:
        return Owed(sale.currency, 0, asked)
    passed = asked
    if "sent_tokens" in g.usage:
        sent = g.usage["sent_tokens"]
        if sent == 0:
            prompt = cached = output = thought = first = passed = 0
        output, thought = min(output, sent), min(thought, output, sent)
    total = 10**9 * _bill(sale, prompt, cached, output, thought, first)
    if sale.markup is not None and cost is not None and cost.currency == sale.currency:
        total += passed * (1 + sale.markup)
    return Owed(sale.currency, round(total), asked)


def _bill(
    asked: Asked, prompt: int, cached: int, output: int, thought: int, requests: int
) -> Fraction:
    """Dollars."""
    tokens = asked.input * (prompt - cached) + asked.cached * cached
    tokens += asked.output * (output - thought) + asked.reasoning * thought
    return tokens / 10**6 + asked.request * requests


@cache
def _holding(month: Month, side: str, asker: str, alias: str, era: int) -> Asked | None:
    """``era``: how many of the month's edges are over."""
    over = frozenset(month.edges[:era])
    plan = ""
    for change in sorted(month.plans, key=lambda change: change.since):
        if change.tenant == asker and change.since in over:
            plan = change.plan
    candidates = [p for p in month.prices if p.side == side and p.since in over]
    for tenant, of_plan in ((asker, None), (None, plan), (None, None)):
        for model in (alias, None):
            those = [
                p for p in candidates if (p.tenant, p.plan, p.model) == (tenant, of_plan, model)
            ]
            if those:
                latest = max(p.since for p in those)
                return [p for p in those if p.since == latest][-1]
    return None


def totals(month: Month, answers: Iterable[Generation]) -> dict[tuple[str, str, str], int]:
    """Nanos by tenant, its own month and currency, without what comes to nothing."""
    sums: dict[tuple[str, str, str], int] = defaultdict(int)
    for g in answers:
        one = owed(month, g)
        sums[g.tenant, month.name_month(g), one.currency] += one.amount
    return {key: nanos for key, nanos in sums.items() if nanos}
