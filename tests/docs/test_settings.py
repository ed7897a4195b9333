"""Every piece of a settings file that a page shows is one that a service takes."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from liveweights.config import Config, load_config

from .pages import PAGES, ROOT, prose

BLOCK = re.compile(r"^```toml\n(.*?)^```", re.MULTILINE | re.DOTALL)
OTHERS = re.compile(
    r"^(# suite\.toml|\[card\]|# task\.toml|model_provider|\[\[models\]\])", re.MULTILINE
)
"""What begins another kind of file: a suite's, a client's, the catalogue's."""
NAMED = re.compile(r"`(\w+)\.([a-z][a-z0-9_]*)[^`\n]*`")
TABLES = {
    one.encode_name: {key.encode_name for key in msgspec.structs.fields(one.type)}
    for one in msgspec.structs.fields(Config)
    if isinstance(one.type, type) and issubclass(one.type, msgspec.Struct)
}
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


@pytest.mark.parametrize("page", [page for page in PAGES if page != ROOT / "CHANGELOG.md"], ids=str)
def test_a_setting_that_is_named_in_a_sentence_exists(page: Path) -> None:
    """The changelog names former ones, too."""
    named = [(table, key) for table, key in NAMED.findall(prose(page)) if table in TABLES]
    assert [one for one in named if one[1] not in TABLES[one[0]]] == []
