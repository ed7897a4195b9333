from __future__ import annotations

import datetime
from pathlib import Path

from liveweights.catalog.library import open_library
from liveweights.catalog.prices import FILE, PriceList, encode_prices

DAY = datetime.date(2026, 11, 29)


def test_it_is_read_once_until_a_file_changes(tmp_path: Path) -> None:
    folder = tmp_path / "catalogue"
    folder.mkdir()
    (folder / FILE).write_bytes(encode_prices(PriceList(version="one", providers={})))
    library = open_library(tmp_path, DAY)
    assert library.prices.version == "one"
    assert "moonshotai/Kimi-K2.5" in library.catalogue.cards
    assert open_library(tmp_path, DAY) is library
    assert open_library(tmp_path, DAY + datetime.timedelta(1)) is not library
    (folder / "own.toml").write_text('[[models]]\nhub_id = "us/mine"\nname = "Mine"\n')
    later = open_library(tmp_path, DAY)
    assert "us/mine" in later.catalogue.cards
    assert "us/mine" not in library.catalogue.cards
    (folder / ".#own.toml").symlink_to("me@host.123:456")
    (folder / "gone.toml").symlink_to("nothing")
    assert open_library(tmp_path, DAY) is later
    (folder / "gone.toml").unlink()
    (folder / FILE).write_bytes(encode_prices(PriceList(version="number two", providers={})))
    assert open_library(tmp_path, DAY).prices.version == "number two"
