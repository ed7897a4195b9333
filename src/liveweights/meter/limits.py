"""How much one API key may ask for: per minute, at once, and for how much money."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal, NamedTuple
from weakref import WeakValueDictionary

from liveweights.meter.allotments import (
    NO_CURRENCY,
    Allotment,
    Money,
    is_model_owner,
    list_limits,
    list_model_budgets,
)
from liveweights.meter.budgets import Budget
from liveweights.meter.charges import Counted, assess, bound_cost, cost_of
from liveweights.meter.desk import Desk
from liveweights.meter.holdings import Holding, Payer
from liveweights.meter.keys import Client
from liveweights.meter.leases import MINUTE, Grant, LeaseStore, Limit, MemoryLeases, wait_for
from liveweights.meter.money import show_money
from liveweights.meter.price_book import NOTHING_HELD, Held
from liveweights.meter.rights import Rights
from liveweights.meter.settings import RateLimits
from liveweights.meter.tenants import Tenant

REPORT_SECONDS = 0.5
"""Between two reports of what was used; so long another process may be refused what this one does
not need any more, and so much use is not counted where this one is killed."""
PAUSES = (0.02, 0.05, 0.1)
"""Seconds to wait for others to give back what they do not need, before a request is refused."""
SURE = 0.25
"""Seconds for which a refusal holds without asking again."""
QUIET = 600.0
"""Seconds after which an allowance that nobody has used is forgotten by this process."""
ANSWERS = ("requests", "tokens")
"""What an answer takes, and tells of."""
QUOTA = "insufficient_quota"
"""What OpenAI calls it."""
Budgets = tuple[Budget, ...]
Headers = tuple[tuple[bytes, bytes], ...]


class LimitReached(Exception):
    """A key has used up its limit ``name``; in ``wait`` seconds there is enough again. ``headers``
    say what it has left. ``code`` tells a budget that is spent from a rate that is too high."""

    def __init__(
        self,
        message: str,
        name: str,
        wait: float,
        headers: Headers = (),
        *,
        code: str = "rate_limit_exceeded",
    ) -> None:
        super().__init__(message)
        self.name = name
        self.wait = wait
        self.headers = headers
        self.code = code


@dataclass(frozen=True, slots=True)
class Spending:
    """Most of a budget is spent. Amounts are billionths of the tenant's currency."""

    tenant: str
    currency: str
    limit: Limit
    used: int


class Take(NamedTuple):
    """``amount`` of a holding, once ``needed`` of it is there. With 0 what was used beyond the
    limit has to have come back, with ``NOTHING`` it does not matter what is there."""

    holding: Holding
    amount: int
    needed: int


NOTHING = -1


@dataclass(slots=True)
class Account:
    """The holdings that a key's requests take from, until ``ends``, when a budget's window does."""

    tenant: Tenant | None
    rights: Rights
    currency: str
    ends: datetime | None
    by_name: dict[str, Holding] = field(default_factory=dict[str, Holding])
    money: list[Money] = field(default_factory=list[Money])

    def headers(self, now: float) -> Headers:
        """OpenAI's ``x-ratelimit-*``, for the limits that there are."""
        pairs: list[tuple[bytes, bytes]] = []
        for name in ANSWERS:
            if (holding := self.by_name.get(name)) is None:
                continue
            most, left = holding.limit.most, holding.left(now)
            for kind, value in (
                ("limit", f"{most}"),
                ("remaining", str(max(0, min(most, left)))),
                ("reset", duration(max(0, most - left) * MINUTE / most)),
            ):
                pairs.append((f"x-ratelimit-{kind}-{name}".encode(), value.encode()))
        return tuple(pairs)


@dataclass(slots=True)
class Purse:
    """What a request has of a model's own budgets: ``reserved``, and its ``cost`` once it is known,
    in billionths of the currency in which its upstream is paid."""

    account: Account
    model: str
    reserved: int
    cost: int = 0


class Permit:
    """What one request for an answer takes of its key's allowance, from the door to its end."""

    __slots__ = (
        *("_account", "_limiter", "_money", "_purse", "_tenant"),
        *("cost", "read", "reserved", "used"),
    )

    def __init__(self, limiter: Limiter, account: Account, tenant: str) -> None:
        self._limiter = limiter
        self._account = account
        self._tenant = tenant
        self._money = 0
        self._purse: Purse | None = None
        self.reserved = 0
        """Tokens that it may use."""
        self.read = 0
        """Tokens of prompts that have been read."""
        self.used = 0
        """Tokens that are charged in the end."""
        self.cost = 0
        """Billionths of the currency that are charged in the end."""

    @property
    def has_budget(self) -> bool:
        """Whether it matters what the request costs."""
        return bool(self._account.money)

    def find_price(self, model: str, at: datetime) -> Held:
        """What holds for an answer of that model that is asked for at that time."""
        return self._limiter.find_price(self._tenant, model, at)

    async def reserve(self, tokens: int, nanos: int = 0) -> None:
        """It can use so many in all, and cost so much, whatever was reserved before. Raises
        LimitReached, LeasesAway; then what was reserved before is reserved."""
        account = self._account
        takes: list[Take] = []
        if holding := account.by_name.get("tokens"):
            needed = holding.need(tokens) - self.reserved
            takes.append(Take(holding, tokens - self.reserved, needed or NOTHING))
        more = nanos - self._money
        if more:
            takes += [Take(money.holding, more, more) for money in account.money]
        await self._limiter.take(account, takes)
        self.reserved, self._money = tokens, nanos

    async def spend(
        self, model: str, budgets: Budgets, prompt_tokens: int, output_tokens: int
    ) -> None:
        """It can cost that of the model's own ``budgets``, and of no other model's any more. Raises
        LimitReached, LeasesAway."""
        self._leave_purse()
        account = self._limiter.model_account(model, budgets)
        held = self._limiter.find_price("", model, datetime.now(UTC))
        nanos = bound_cost(held, prompt_tokens, output_tokens)
        takes = [Take(money.holding, nanos, nanos) for money in account.money]
        await self._limiter.take(account, takes)
        self._purse = Purse(account, model, nanos)

    def charge(self, model: str, counts: Counted, at: datetime) -> None:
        """The ``model`` has answered with so much what was asked for at that time."""
        self.used = counts.prompt + counts.output
        if self.has_budget:
            self.cost = assess(self.find_price(model, at), counts, withheld=False).amount
        if self._purse is not None and self._purse.model == model:
            held = self._limiter.find_price("", model, at)
            self._purse.cost = cost_of(held, assess(held, counts, withheld=False))

    def _leave_purse(self) -> None:
        purse, self._purse = self._purse, None
        if purse is not None:
            for money in purse.account.money:
                self._limiter.settle(money.holding, purse.reserved, purse.cost)

    def headers(self) -> Headers:
        return self._account.headers(self._limiter.clock())

    def close(self) -> None:
        """The request has ended: what it has not used is given back."""
        if holding := self._account.by_name.get("concurrency"):
            self._limiter.settle(holding, 1, 0)
        if holding := self._account.by_name.get("tokens"):
            self._limiter.settle(holding, self.reserved, self.used)
        for money in self._account.money:
            self._limiter.settle(money.holding, self._money, self.cost)
        self._leave_purse()


FindPrice = Callable[[str, str, datetime], Held]
"""What holds for a tenant and a model at a time."""


def _free(tenant: str, model: str, at: datetime) -> Held:
    return NOTHING_HELD


def _nobody(tenant: str) -> Tenant | None:
    return None


def _now() -> datetime:
    return datetime.now(UTC)


class Limiter:
    """The allowances of all keys, as far as this process has them.

    What a request may use is taken from leases in memory (``leases`` says how); only where they do
    not suffice, and every half second while it is used, the store is asked. By default the store
    is this process's memory. ``find_tenant`` knows what is stored of tenants, ``spent`` is told
    once when most of a budget is spent.
    """

    def __init__(
        self,
        limits: RateLimits,
        tenants: dict[str, RateLimits],
        clock: Callable[[], float] = time.monotonic,
        *,
        store: LeaseStore | None = None,
        find_tenant: Callable[[str], Tenant | None] = _nobody,
        find_price: FindPrice = _free,
        today: Callable[[], datetime] = _now,
        spent: Callable[[Spending], None] | None = None,
    ) -> None:
        self._limits = limits
        self._tenants = tenants
        self.clock = clock
        self.find_price = find_price
        self._find_tenant = find_tenant
        self._today = today
        self._spent = spent
        self._desk = Desk(store or MemoryLeases(clock), clock, self._warn)
        self._accounts: dict[tuple[str, str], Account] = {}
        self._purses: dict[tuple[str, Budgets], Account] = {}
        self._holdings: dict[object, Holding] = {}
        # Of a place there is one holding for as long as a request that is under way has it.
        self._known = WeakValueDictionary[object, Holding]()
        self._unlimited = Account(None, Rights(), "", None)

    async def begin(self, client: Client) -> Permit:
        """A request for an answer comes in; close what this returns. Raises LimitReached,
        LeasesAway."""
        account = self.account(client)
        names = (("concurrency", 1), ("tokens", 0), ("requests", 1))
        takes = [
            Take(holding, amount, amount)
            for name, amount in names
            if (holding := account.by_name.get(name)) is not None
        ]
        await self.take(account, takes)
        if holding := account.by_name.get("requests"):
            self.settle(holding, 1, 1)
        return Permit(self, account, client.tenant)

    async def charge(
        self, client: Client, name: Literal["feedback", "reads"], amount: int = 1
    ) -> None:
        """Raises LimitReached; then nothing was taken."""
        account = self.account(client)
        if holding := account.by_name.get(name):
            await self.take(account, [Take(holding, amount, holding.need(amount))])
            self.settle(holding, amount, amount)

    async def take(self, account: Account, takes: Sequence[Take]) -> None:
        """All of it or nothing. Raises LimitReached, LeasesAway."""
        pauses = iter(PAUSES)
        while short := self._short(takes):
            if (lacking := self._refused(short)) is not None:
                raise self._refusal(account, lacking)
            await self._desk.ask([(one.holding, one.needed) for one in short])
            if (lacking := self._lacking(takes)) is None:
                continue  # it is there, unless others of this process were quicker
            pause = next(pauses, None)
            if pause is None or not lacking.holding.others:
                refusal = self._refusal(account, lacking)
                # For a moment nobody else needs to ask for it.
                lacking.holding.refuse(lacking.needed, self.clock() + min(refusal.wait, SURE))
                raise refusal
            await self._desk.recall([lacking.holding.limit.owner])
            await asyncio.sleep(pause)
        for one in takes:
            one.holding.take(one.amount)
            self._holdings[one.holding.limit.place] = one.holding

    def _short(self, takes: Sequence[Take]) -> list[Take]:
        """What this process does not have."""
        now = self.clock()
        return [one for one in takes if not one.holding.has(one.needed, now)]

    def _lacking(self, takes: Sequence[Take]) -> Take | None:
        """The first that neither this process nor the pool has, as far as is known."""
        now = self.clock()
        short = (one for one in takes if not one.holding.has(one.needed, now))
        return next((one for one in short if one.holding.left(now) < one.needed), None)

    def _refused(self, short: Sequence[Take]) -> Take | None:
        """The first that was asked for in vain a moment ago."""
        now = self.clock()
        return next((one for one in short if one.holding.is_refused(one.needed, now)), None)

    def account(self, client: Client) -> Account:
        """What the key's requests take from now."""
        if client.own:
            return self._unlimited
        known = self._accounts.get((client.tenant, client.key))
        tenant = self._find_tenant(client.tenant)
        if (
            known is not None
            and known.tenant is tenant
            and known.rights is client.rights
            and (known.ends is None or self._today() < known.ends)
        ):
            return known
        allotment = self._allot(client, tenant)
        account = Account(tenant, client.rights, allotment.currency, allotment.ends)
        for limit in allotment.limits:
            account.by_name[limit.name] = self._holding(limit)
        for limit, ends in allotment.money:
            holding = self._holding(limit)
            holding.payer = Payer(client.tenant, allotment.currency)
            account.money.append(Money(holding, ends))
        self._accounts[client.tenant, client.key] = account
        return account

    def model_account(self, model: str, budgets: Budgets) -> Account:
        """What all answers of the model take from now, whoever asks."""
        known = self._purses.get((model, budgets))
        now = self._today()
        if known is not None and (known.ends is None or now < known.ends):
            return known
        money = [
            Money(self._holding(limit), ends)
            for limit, ends in list_model_budgets(model, budgets, now)
        ]
        ends = min((one.ends for one in money if one.ends is not None), default=None)
        account = Account(None, Rights(), NO_CURRENCY, ends, money=money)
        self._purses[model, budgets] = account
        return account

    def _allot(self, client: Client, tenant: Tenant | None) -> Allotment:
        default = self._tenants.get(client.tenant, self._limits)
        return list_limits(client, tenant, default, self._today())

    def _holding(self, limit: Limit) -> Holding:
        holding = self._known.get(limit.place)
        if holding is None:
            holding = self._known[limit.place] = Holding(limit, self.clock())
        elif holding.limit.most != limit.most:
            holding.rest += limit.most - holding.limit.most
            holding.limit = limit
            holding.refused_until = -math.inf
        self._holdings[limit.place] = holding
        return holding

    def settle(self, holding: Holding, reserved: int, used: int) -> None:
        """A request that had ``reserved`` has ended, and has ``used`` so much."""
        holding.settle(reserved, used)
        self._holdings[holding.limit.place] = holding  # it may have been quiet for long

    async def look(self, client: Client) -> Account:
        """The account, with what others have used of it until now. Raises LeasesAway."""
        account = self.account(client)
        holdings = [*account.by_name.values(), *(money.holding for money in account.money)]
        if holdings:
            await self._desk.ask([(holding, 0) for holding in holdings])
        return account

    async def keep_reporting(self) -> None:
        """For ever: say what was used, give back what is not needed, renew the rest."""
        while True:
            await asyncio.sleep(REPORT_SECONDS)
            now = self.clock()
            due = [holding for holding in self._holdings.values() if holding.is_due(now)]
            await self._desk.report(due)
            self._forget(now)

    def _forget(self, now: float) -> None:
        for holding in self._holdings.values():
            holding.lately = 0
        quiet = [
            place
            for place, holding in self._holdings.items()
            if holding.is_empty() and now - holding.told_at > QUIET
        ]
        if quiet:
            for place in quiet:
                del self._holdings[place]
            self._accounts.clear()  # they are made again from what is there
            self._purses.clear()

    async def give_back(self, owners: Iterable[str] | None = None) -> None:
        """What is free, to whoever asks for it: of these keys and tenants, or all."""
        wanted = None if owners is None else frozenset(owners)
        holdings = [
            holding
            for holding in self._holdings.values()
            if (wanted is None or holding.limit.owner in wanted)
            and (holding.used or holding.free(self.clock()) > 0)
        ]
        await self._desk.report(holdings, give_back=True)

    def _warn(self, holding: Holding, grant: Grant) -> None:
        payer = holding.payer
        if self._spent is not None and payer is not None:
            self._spent(Spending(payer.tenant, payer.currency, holding.limit, grant.used))

    def _refusal(self, account: Account, lacking: Take) -> LimitReached:
        holding, needed = lacking.holding, lacking.needed
        now, limit = self.clock(), holding.limit
        headers, left = account.headers(now), max(0, holding.left(now))
        if limit.kind == "slots":
            message = f"{limit.most} requests of this key are being answered; wait for one to end."
            return LimitReached(message, limit.name, 1.0, headers)
        if limit.kind == "rate":
            wait = wait_for(limit, max(0, needed) - holding.left(now))
            message = (
                f"The limit of {limit.most} {limit.name} per minute is reached: "
                f"{left} left, {max(0, needed)} asked for. Try again in {wait:.3g} s."
            )
            return LimitReached(message, limit.name, wait, headers)
        (ends,) = (money.ends for money in account.money if money.holding is holding)
        wait = MINUTE if ends is None else max(1.0, (ends - self._today()).total_seconds())
        message = f"{_title(limit)} is spent"
        if not is_model_owner(limit.owner):  # what is left of it is the operator's business
            message += (
                f": {show_money(left)} {account.currency} are left, and up to "
                f"{show_money(needed)} may be needed"
            )
        message += "."
        if ends is not None:
            message += f" A new one begins at {ends:%Y-%m-%dT%H:%M:%SZ}."
        return LimitReached(message, QUOTA, wait, headers, code=QUOTA)


def _title(limit: Limit) -> str:
    """``The key's budget for the month``."""
    if limit.name == "credit":
        return "The tenant's prepaid credit"
    whose = limit.owner.partition(" ")[0]
    return f"The {whose}'s budget" + ("" if limit.name == "all" else f" for the {limit.name}")


def duration(seconds: float) -> str:
    """As OpenAI writes it: ``6m0s``, ``1s``, ``20ms``."""
    if seconds < 1:
        return f"{math.ceil(seconds * 1000)}ms"
    whole = math.ceil(seconds)
    return f"{whole // 60}m{whole % 60}s" if whole >= 60 else f"{whole}s"
