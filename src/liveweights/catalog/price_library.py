"""The price list of the ``genai-prices`` package, as it was installed or as it is today.

Its models are read into ``PriceList``: the library takes half a second to import, a list a few
milliseconds to read.
"""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from liveweights.catalog.card_files import FOLDER
from liveweights.catalog.prices import (
    FILE,
    HourPrice,
    ListedPrice,
    PriceList,
    Provider,
    read_prices,
)

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo


_NAMES = {"input": "input_mtok", "output": "output_mtok", "cached_input": "cache_read_mtok"}


class PricesNotFetched(RuntimeError):
    """The list of today was not to be had; the message says why."""


def bundled_prices(today: datetime.date) -> PriceList:
    """The list that the installed package has, with the prices of a day."""
    import genai_prices
    from genai_prices.data_snapshot import get_snapshot

    version = f"genai-prices {genai_prices.__version__}"
    return _make_list(get_snapshot().providers, today, version=version)


def fetch_prices(now: datetime.datetime, url: str | None = None) -> PriceList:
    """The list that the library's makers publish now, or that ``url`` has in their form.

    Raises PricesNotFetched.
    """
    import httpx2
    from genai_prices import UpdatePrices

    update = UpdatePrices() if url is None else UpdatePrices(url=url)
    try:
        snapshot = update.fetch()
    except (httpx2.HTTPError, httpx2.InvalidURL, ValueError) as error:
        said = " ".join(str(error).split())[:200] or type(error).__name__
        raise PricesNotFetched(f"no prices from {update.url}: {said}") from error
    if snapshot is None:
        raise PricesNotFetched(f"no prices from {update.url}: it has none")
    version = f"genai-prices of {now:%Y-%m-%d}"
    return _make_list(snapshot.providers, now.date(), version=version, fetched=now)


def _make_list(
    providers: Iterable[Any],
    today: datetime.date,
    *,
    version: str,
    fetched: datetime.datetime | None = None,
) -> PriceList:
    found: dict[str, Provider] = {}
    for provider in providers:
        source = (provider.pricing_urls or [None])[0]
        prices = {
            model.id: read_price(model, provider.id, today, source=source, version=version)
            for model in provider.models
        }
        found[provider.id] = Provider(
            name=provider.name, address=provider.api_pattern, prices=prices
        )
    return PriceList(version=version, fetched=fetched, providers=found)


def read_price(
    model: ModelInfo,
    provider: str,
    today: datetime.date,
    *,
    source: str | None = None,
    version: str | None = None,
) -> ListedPrice:
    """One model's price on a day: of several that have begun the last in the list, as in the
    library."""
    from genai_prices.types import ModelPrice, StartDateConstraint, TimeOfDateConstraint

    since: datetime.date | None = None
    hours: list[HourPrice] = []
    if isinstance(model.prices, ModelPrice):
        standard: Any = model.prices
    else:
        standard = model.prices[0].prices
        for one in model.prices:
            when = one.constraint
            if isinstance(when, TimeOfDateConstraint):
                begin, end = (
                    time.replace(tzinfo=None) for time in (when.start_time, when.end_time)
                )
                hours.append(HourPrice(begin=begin, end=end, **_values(one.prices)))
            elif not isinstance(when, StartDateConstraint):
                standard, since = one.prices, None
            elif when.start_date <= today:
                standard, since = one.prices, when.start_date
    return ListedPrice(
        provider=provider,
        model=model.id,
        **_values(standard),
        hours=tuple(hours),
        tiers=_tiers(standard),
        since=since,
        version=version,
        source=source,
    )


def _values(prices: Any) -> dict[str, float]:
    """Prices until the first tier, under our names for them."""
    found: dict[str, float] = {}
    for name, key in _NAMES.items():
        value = getattr(prices, key, None)
        value = getattr(value, "base", value)
        if value is not None:
            found[name] = float(value)
    return found


def _tiers(prices: Any) -> str | None:
    said: list[str] = []
    for name, key in _NAMES.items():
        for tier in getattr(getattr(prices, key, None), "tiers", ()):
            said.append(
                f"{name.replace('_', ' ')} {float(tier.price):g} from {tier.start:,} tokens"
            )
    return "; ".join(said) or None


def current_prices(home: Path | None, today: datetime.date) -> PriceList:
    """The list that a home refreshed, else the installed one. Raises ValueError where the file of
    the first is damaged."""
    if home is not None:
        with contextlib.suppress(FileNotFoundError):
            return read_prices(home / FOLDER / FILE)
    return bundled_prices(today)
