"""Reading TOML files of cards, ours and a home's own, and laying the second over the first.

Everything stays a table until it is whole: what overrides a card has only some of its members.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar, cast

import msgspec

SHIPPED = Path(__file__).parent / "data"
FOLDER = "catalogue"
"""Of a home: where its own cards are."""
KINDS = {
    "models": "hub_id",
    "licences": "id",
    "products": "name",
    "rules": "name",
    "adoption": None,
}
"""What a file may list, and the member that names an entry."""

_SOURCE = {
    **dict.fromkeys(("parameters_total", "parameters_active"), "parameters"),
    **dict.fromkeys(("layers", "hidden", "vocab", "experts"), "config"),
}
"""The source of a member, where it is not the one of its name."""
_ABOUT = {"licence": "licence_url", "duties": "verified"}
"""Members that are about another one, of a card or a licence: they go with it."""
_MEMBER = re.compile(r" - at `\$\.(\w+)")
"""Of an entry, as msgspec names it."""

Table = Mapping[str, Any]
Tables = dict[str, list[dict[str, Any]]]
"""A file's lists."""
Lists = list[tuple[Path, list[dict[str, Any]]]]
"""The tables of one kind, of each file in order."""
T = TypeVar("T", bound=msgspec.Struct)


class CatalogueError(ValueError):
    """Cards that are not understood: each fault names file and entry."""

    def __init__(self, faults: list[str]) -> None:
        more = len(faults) - 1
        rest = f"; and {more} more: `liveweights catalogue check` lists them" if more else ""
        super().__init__(faults[0] + rest)
        self.faults = faults


@dataclass(frozen=True, slots=True)
class Entry:
    """A card or a licence as a table; ``overrides`` are its members that another file than its
    own gave, each with that file."""

    table: Table
    file: Path
    overrides: Mapping[str, Path] = field(default_factory=dict[str, Path])

    def overridden(self, table: Table, file: Path, identity: str) -> Entry:
        """With the members of ``table`` in place of its own. Tables within it are laid over one
        another member by member; a source of what is overridden goes, and what is about it, unless
        it is given too."""
        about = {_ABOUT[name] for name in table if name in _ABOUT}
        merged = {name: value for name, value in self.table.items() if name not in about}
        for name, value in table.items():
            before = merged.get(name)
            if isinstance(value, dict) and isinstance(before, dict):
                merged[name] = {**cast(Table, before), **cast(Table, value)}
            else:
                merged[name] = value
        sources, theirs = merged.get("sources"), table.get("sources", {})
        # What is no table is found to be wrong once all is whole.
        if isinstance(sources, dict) and isinstance(theirs, dict):
            gone = {_SOURCE.get(name, name) for name in table}
            merged["sources"] = {
                name: source
                for name, source in cast(Table, sources).items()
                if name in cast(Table, theirs) or name not in gone
            }
        given = {name: file for name in table if name != identity}
        return Entry(merged, self.file, {**self.overrides, **given})


def list_own(folder: Path) -> list[Path]:
    """A home's files of cards, in order; what editors hide beside them is none."""
    return sorted(file for file in folder.glob("*.toml") if not file.name.startswith("."))


def read_file(file: Path) -> Tables:
    """The lists of a file. Raises CatalogueError."""
    try:
        found = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:  # ValueError: neither UTF-8 nor TOML
        raise CatalogueError([f"{file} cannot be read: {error}"]) from error
    for kind, entries in found.items():
        if kind not in KINDS:
            near = get_close_matches(kind, KINDS, 1)
            hint = f"; did you mean [[{near[0]}]]?" if near else f": it has {', '.join(KINDS)}"
            raise CatalogueError([f"{file}: there is no list {kind!r} in a catalogue{hint}"])
        if not isinstance(entries, list) or not all(isinstance(one, dict) for one in entries):
            raise CatalogueError(
                [f"{file}: {kind!r} is no list of tables: begin each by [[{kind}]]"]
            )
    return found


def name_entry(kind: str, table: Table, number: int) -> str:
    """An entry as errors name it: by what identifies it, else by its number in the file."""
    member = KINDS[kind]
    name = table.get(member) if member else None
    return f"[[{kind}]] {number + 1}" + (f" ({name})" if name else "")


def merge(kind: str, files: Lists, faults: list[str]) -> dict[str, Entry]:
    """Entries by what identifies them, lower case, each file laid over those before it."""
    member = KINDS[kind]
    assert member is not None
    merged: dict[str, Entry] = {}
    for file, tables in files:
        here: set[str] = set()
        for number, table in enumerate(tables):
            name = table.get(member)
            entry = name_entry(kind, table, number)
            if not isinstance(name, str):
                faults.append(f"{file}: {entry} has no {member}")
                continue
            key = name.lower()
            if key in here:
                faults.append(f"{file}: {entry} is there twice")
                continue
            here.add(key)
            known = merged.get(key)
            if known is None:
                merged[key] = Entry(table, file)
            else:
                table = {**table, member: known.table[member]}
                merged[key] = known.overridden(table, file, member)
    return merged


def build(
    kind: str, entries: Mapping[str, Entry], type_: type[T], faults: list[str]
) -> dict[str, T]:
    """The structs of whole tables, by what identifies them; a fault for each that is none."""
    member = KINDS[kind]
    assert member is not None
    built: dict[str, T] = {}
    for key, entry in entries.items():
        name = str(entry.table[member])
        try:
            built[name] = msgspec.convert(entry.table, type_)
        except msgspec.ValidationError as error:
            file = _find_file(entry, str(error))
            hint = ""
            if "missing required" in str(error):  # of what was meant for another entry, perhaps
                near = get_close_matches(key, entries.keys() - {key}, 1)
                hint = f"; did you mean {entries[near[0]].table[member]!r}?" if near else ""
            faults.append(f"{file}: [[{kind}]] {name}: {error}{hint}")
    return built


def _find_file(entry: Entry, error: str) -> Path:
    """Which of an entry's files gave the member that an error is about; the last, where it is about
    the whole."""
    if found := _MEMBER.search(error):
        return entry.overrides.get(found[1], entry.file)
    return [entry.file, *entry.overrides.values()][-1]


def build_list(kind: str, files: Lists, type_: type[T], faults: list[str]) -> tuple[T, ...]:
    """Entries that nothing overrides, in the order of the files."""
    built: list[T] = []
    for file, tables in files:
        for number, table in enumerate(tables):
            try:
                built.append(msgspec.convert(table, type_))
            except msgspec.ValidationError as error:
                faults.append(f"{file}: {name_entry(kind, table, number)}: {error}")
    return tuple(built)
