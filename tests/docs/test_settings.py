"""Every piece of a settings file that a page shows is one that a service takes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from liveweights.config import load_config

from .pages import PAGES

BLOCK = re.compile(r"^```toml\n(.*?)^```", re.MULTILINE | re.DOTALL)
OTHERS = re.compile(
    r"^(# suite\.toml|\[card\]|# task\.toml|model_provider|\[\[models\]\])", re.MULTILINE
)
"""What begins another kind of file: a suite's, a client's, the catalogue's."""
BLOCKS = [
    pytest.param(text, id=f"{page.stem}-{number}")
    for page in PAGES
    for number, text in enumerate(BLOCK.findall(page.read_text()))
    if not OTHERS.search(text)
]


@pytest.mark.parametrize("text", BLOCKS)
def test_a_page_shows_settings_that_are_taken(text: str, tmp_path: Path) -> None:
    file = tmp_path / "liveweights.toml"
    file.write_text(text)
    assert load_config(file).list_models()
