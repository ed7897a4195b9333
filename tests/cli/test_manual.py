"""The pages of the manual say what the code declares, and are as they would be made now."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
import pytest
from tests.docs.pages import ROOT

from liveweights.cli.manual import commands_page, settings_page, takes_of
from liveweights.config import Config
from liveweights.model_table import ModelTable


class _Price(msgspec.Struct):
    input: float = 0.0
    output: float = 0.0


@pytest.mark.parametrize(
    ("type_", "words"),
    [
        (bool, "`true` or `false`"),
        (int, "whole number"),
        (Annotated[int, msgspec.Meta(ge=1, le=65535)], "whole number, at least 1, at most 65,535"),
        (Annotated[float, msgspec.Meta(gt=0, lt=1)], "number, above 0, below 1"),
        (float | None, "number or nothing"),
        (Literal["full", "lora"], '`"full"`, `"lora"`'),
        (tuple[str, ...], "list of: text"),
        (dict[str, _Price], "table of name to: table of `input`, `output`"),
    ],
)
def test_what_a_key_takes_in_words(type_: type, words: str) -> None:
    assert takes_of(msgspec.inspect.type_info(type_)) == words


@pytest.mark.parametrize(
    ("name", "made"), [("settings", settings_page), ("commands", commands_page)]
)
def test_the_page_is_as_it_would_be_made_now(name: str, made) -> None:  # type: ignore[no-untyped-def]
    page = ROOT / "docs" / f"{name}.md"
    assert page.read_text() == made(), f"docs/{name}.md is old: run `make docs` and commit it"


def test_every_setting_is_on_the_page_and_explained() -> None:
    rows = [line.split(" | ") for line in settings_page().splitlines() if line.startswith("| `")]
    unexplained = [row[0] for row in rows if len(row) < 4 or len(row[-1].strip(" |")) < 5]
    assert not unexplained
    assert len(rows) == _count(Config()) + _count(ModelTable())


def _count(table: msgspec.Struct) -> int:
    values = [getattr(table, name) for name in table.__struct_fields__]
    return sum(_count(v) if isinstance(v, msgspec.Struct) else 1 for v in values)
