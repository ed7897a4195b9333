"""Whose a model is: one answer, whoever asks."""

from __future__ import annotations

import asyncio
import hashlib
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import psycopg
import pytest

from liveweights.app.bills import know_service
from liveweights.app.cards import find_card, find_listed
from liveweights.app.profiles import read_known
from liveweights.app.serving import list_served
from liveweights.bom.read import Known
from liveweights.catalog.card_files import FOLDER, CatalogueError
from liveweights.catalog.library import open_library
from liveweights.catalog.prices import FILE, ListedPrice, PriceList, Provider, encode_prices
from liveweights.config import Config

FAR = "https://api.example.com/v1"
WEIGHTS = b"weights"
OWN = f"""
[[models]]
hub_id = "us/mine"
name = "Mine"
maker = "us"
country = "FR"
weights = ["{hashlib.sha256(WEIGHTS).hexdigest()}"]
[[models]]
hub_id = "them/sold"
name = "Sold"
maker = "them"
country = "DE"
hosted = [{{ provider = "shop", model = "x-large" }}]
"""
PRICE = ListedPrice(provider="shop", model="x-large", input=1.0, output=2.0, version="v")
PRICES = PriceList(
    version="v",
    providers={
        "shop": Provider(
            name="Shop", address=r"https://api\.example\.com", prices={"x-large": PRICE}
        )
    },
)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / FOLDER
    folder.mkdir()
    (folder / "own.toml").write_text(OWN)
    (folder / FILE).write_bytes(encode_prices(PRICES))
    base = tmp_path / "nameless"
    base.mkdir()
    (base / "config.json").write_text("{}")
    (base / "model.safetensors").write_bytes(WEIGHTS)
    return tmp_path


def settings(home: Path) -> Config:
    models = {
        "files": {"base": str(home / "nameless")},
        "name": {"base": "smollm2-135m-instruct"},
        "sold": {"upstream": FAR, "upstream_model": "x-large"},
        "called": {"upstream": "http://127.0.0.1:1", "upstream_model": "them/sold"},
        "nobody": {"upstream": FAR, "upstream_model": "no-such"},
    }
    return msgspec.convert({"models": models, "cache": str(home / "cache")}, Config)


async def bill(config: Config, home: Path, dsn: str) -> Known:
    async with await psycopg.AsyncConnection.connect(dsn) as conn:
        return await know_service(conn, config, home)


CARDS = {
    "files": "us/mine",
    "name": "HuggingFaceTB/SmolLM2-135M-Instruct",
    "sold": "them/sold",
    "called": "them/sold",
    "nobody": None,
}


def test_a_models_card_is_the_same_for_all_that_ask(home: Path, database_dsn: str) -> None:
    config, library = settings(home), open_library(home, datetime.now(UTC).date())
    known = {name: one.profile.base for name, one in read_known(config, home).items()}
    served = {one.alias: one.card and one.card.hub_id for one in list_served(config, library)}
    billed = {
        one.alias: one.origin and one.origin.card.hub_id
        for one in asyncio.run(bill(config, home, database_dsn)).hosted
    }
    assert known == served == CARDS
    assert billed == {name: CARDS[name] for name in ("sold", "called", "nobody")}


def test_it_is_said_what_it_is_known_by(home: Path) -> None:
    config, library = settings(home), open_library(home, datetime.now(UTC).date())
    models = {one.alias: one for one in (*config.list_models(), *config.list_hosted())}
    found = {name: find_card(library, one, home / "cache") for name, one in models.items()}
    by = {name: located and located.by for name, located in found.items()}
    assert by == {
        "files": "weights", "name": "name", "sold": "name", "called": "name", "nobody": None,
    }  # fmt: skip
    listed = {one.alias: find_listed(library, one) for one in config.list_hosted()}
    assert listed == {"sold": PRICE, "called": None, "nobody": None}


def test_a_damaged_list_of_prices_is_told(home: Path) -> None:
    (home / FOLDER / FILE).write_text("{")
    library = open_library(home, datetime.now(UTC).date())
    with pytest.raises(CatalogueError, match=FILE):
        list_served(settings(home), library)
