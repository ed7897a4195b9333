"""Our reading of genai-prices against the library's own answers, and its refresh over HTTP."""

from __future__ import annotations

import datetime
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import TieredPrices

from liveweights.catalog.card_files import FOLDER
from liveweights.catalog.price_library import (
    PricesNotFetched,
    bundled_prices,
    current_prices,
    fetch_prices,
)
from liveweights.catalog.prices import FILE, HourPrice, ListedPrice, encode_prices

NAMES = {"input": "input_mtok", "output": "output_mtok", "cached_input": "cache_read_mtok"}
NOW = datetime.datetime(2026, 11, 29, 7, 30, tzinfo=datetime.UTC)


def at(price: ListedPrice, time: datetime.time) -> ListedPrice | HourPrice:
    """What is asked at that time of the day; the last of several hours, as in the library."""
    for hours in reversed(price.hours):
        if hours.begin <= time < hours.end or (
            hours.end < hours.begin and (time >= hours.begin or time < hours.end)
        ):
            return hours
    return price


@pytest.mark.parametrize("hour", [0, 2, 8, 12, 18, 23])
@pytest.mark.parametrize("day", [datetime.date(2025, 3, 1), datetime.date(2026, 9, 1), NOW.date()])
def test_every_price_is_the_library_s_at_any_day_and_hour(day: datetime.date, hour: int) -> None:
    listed = bundled_prices(day)
    time = datetime.time(hour, 15)
    moment = datetime.datetime.combine(day, time, datetime.UTC)
    compared = 0
    for provider in get_snapshot().providers:
        for model in provider.models:
            ours = at(listed.providers[provider.id].prices[model.id], time)
            theirs = model.get_prices(moment)
            for name, key in NAMES.items():
                value = getattr(theirs, key, None)
                value = value.base if isinstance(value, TieredPrices) else value
                assert getattr(ours, name) == (None if value is None else float(value)), model.id
                compared += value is not None
    assert compared > 4000


def test_a_hosted_model_s_price_is_found_by_the_address_that_is_asked() -> None:
    price = bundled_prices(NOW.date()).find_by_address("https://api.moonshot.ai/v1", "kimi-k2.5")
    assert price is not None
    assert (price.provider, price.model) == ("moonshotai", "kimi-k2.5")


PUBLISHED = [
    {
        "id": "seller",
        "name": "Seller",
        "api_pattern": r"https://api\.seller\.com",
        "pricing_urls": ["https://seller.com/prices"],
        "models": [
            {
                "id": "big",
                "match": {"equals": "big"},
                "prices": {"input_mtok": 1.5, "output_mtok": 3},
            }
        ],
    }
]


@pytest.fixture
def published() -> Iterator[dict[str, bytes | str]]:
    """A server of price lists; what it answers with can be replaced."""
    answer: dict[str, bytes | str] = {"body": json.dumps(PUBLISHED).encode()}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/list.json" else 404)
            self.end_headers()
            body = answer["body"]
            assert isinstance(body, bytes)
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    answer["url"] = f"http://127.0.0.1:{server.server_port}"
    yield answer
    server.shutdown()
    server.server_close()


def test_a_refreshed_list_is_in_force_and_dated(
    published: dict[str, bytes | str], tmp_path: Path
) -> None:
    listed = fetch_prices(NOW, f"{published['url']}/list.json")
    assert listed.fetched == NOW
    price = listed.find("seller", "big")
    assert price == ListedPrice(
        provider="seller",
        model="big",
        input=1.5,
        output=3.0,
        version="genai-prices of 2026-11-29",
        source="https://seller.com/prices",
    )
    (tmp_path / FOLDER).mkdir()
    assert current_prices(tmp_path, NOW.date()).fetched is None
    (tmp_path / FOLDER / FILE).write_bytes(encode_prices(listed))
    assert current_prices(tmp_path, NOW.date()) == listed


@pytest.mark.parametrize("body", [b"{}", b"not json", b'[{"id": 3}]'])
def test_what_is_no_list_is_refused(published: dict[str, bytes | str], body: bytes) -> None:
    published["body"] = body
    with pytest.raises(PricesNotFetched, match=r"no prices from http://127.*list\.json: "):
        fetch_prices(NOW, f"{published['url']}/list.json")


def test_a_list_that_is_not_there_is_refused(published: dict[str, bytes | str]) -> None:
    with pytest.raises(PricesNotFetched, match="404"):
        fetch_prices(NOW, f"{published['url']}/other.json")
    with pytest.raises(PricesNotFetched, match="no prices from http://127"):
        fetch_prices(NOW, "http://127.0.0.1:9/list.json")
    with pytest.raises(PricesNotFetched, match="no prices from nowhere"):
        fetch_prices(NOW, "nowhere")
