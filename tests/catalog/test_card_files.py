"""Laying a home's own tables over ours."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from liveweights.catalog.card_files import Entry, merge

MEMBERS = st.sampled_from(["context", "licence", "released", "layers"])
TABLES = st.fixed_dictionaries(
    {"hub_id": st.sampled_from(["a/one", "A/One", "a/two"])},
    optional={
        "context": st.integers(1, 9),
        "licence": st.sampled_from(["MIT", "X"]),
        "licence_url": st.text(),
        "hidden": st.integers(1, 9),
        "layers": st.integers(1, 9),
        "architecture": st.dictionaries(st.sampled_from(["model_type", "class"]), st.text()),
        "sources": st.dictionaries(st.sampled_from(["context", "licence", "config"]), st.text()),
    },
)
FILES = st.lists(
    st.lists(TABLES, max_size=3, unique_by=lambda table: table["hub_id"].lower()), max_size=4
)


def lay(files: list[list[dict]]) -> dict[str, Entry]:  # type: ignore[type-arg]
    faults: list[str] = []
    merged = merge("models", [(Path(f"{n}.toml"), one) for n, one in enumerate(files)], faults)
    assert faults == []
    return merged


@given(FILES)
def test_the_last_file_that_gives_a_member_decides(files: list) -> None:  # type: ignore[type-arg]
    for key, entry in lay(files).items():
        given_by = [
            (number, table)
            for number, tables in enumerate(files)
            for table in tables
            if table["hub_id"].lower() == key
        ]
        first, table = given_by[0]
        assert entry.file == Path(f"{first}.toml")
        assert entry.table["hub_id"] == table["hub_id"]
        for member in ("context", "licence", "layers"):
            values = [(number, t[member]) for number, t in given_by if member in t]
            assert entry.table.get(member) == (values[-1][1] if values else None)
            later = [number for number, _ in values if number != first]
            assert entry.overrides.get(member) == (Path(f"{later[-1]}.toml") if later else None)


@given(FILES)
def test_a_fact_keeps_no_source_but_its_own(files: list) -> None:  # type: ignore[type-arg]
    for key, entry in lay(files).items():
        tables = [t for one in files for t in one if t["hub_id"].lower() == key]
        for members, name in (
            ({"context"}, "context"),
            ({"licence"}, "licence"),
            ({"layers", "hidden"}, "config"),
        ):
            source = entry.table.get("sources", {}).get(name)
            decides = max((n for n, t in enumerate(tables) if members & t.keys()), default=0)
            later = [t["sources"] for t in tables[decides:] if name in t.get("sources", {})]
            assert source == (later[-1][name] if later else None)


@given(FILES)
def test_the_address_of_a_licence_is_of_that_licence(files: list) -> None:  # type: ignore[type-arg]
    for key, entry in lay(files).items():
        tables = [t for one in files for t in one if t["hub_id"].lower() == key]
        decides = max((n for n, t in enumerate(tables) if "licence" in t), default=0)
        later = [t["licence_url"] for t in tables[decides:] if "licence_url" in t]
        assert entry.table.get("licence_url") == (later[-1] if later else None)


@given(FILES)
def test_tables_within_are_laid_over_member_by_member(files: list) -> None:  # type: ignore[type-arg]
    for key, entry in lay(files).items():
        whole: dict[str, str] = {}
        for tables in files:
            for table in tables:
                if table["hub_id"].lower() == key:
                    whole |= table.get("architecture", {})
        assert (entry.table.get("architecture") or {}) == whole


@given(FILES)
def test_nothing_is_changed_that_was_given(files: list) -> None:  # type: ignore[type-arg]
    import copy

    before = copy.deepcopy(files)
    lay(files)
    assert files == before
