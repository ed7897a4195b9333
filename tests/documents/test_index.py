"""Folders in a real Postgres: what is read again, and what is found."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import psycopg
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from liveweights.documents.index import Indexed, OtherPlace, add_folder, list_folders, remove_folder
from liveweights.documents.search import (
    BLOCK,
    FINDS,
    PARTS,
    find_text,
    open_document,
    places_of,
    search,
)
from liveweights.store.database import Connection

from .test_files import make_unreadable

T = TypeVar("T")


def ask(dsn: str, work: Callable[[Connection], Awaitable[T]]) -> T:
    async def run() -> T:
        async with await psycopg.AsyncConnection.connect(dsn) as conn:
            return await work(conn)

    return asyncio.run(run())


def add(dsn: str, folder: Path, **how: str | list[str] | None) -> Indexed:
    return ask(dsn, lambda conn: add_folder(conn, folder, **({"name": "docs"} | how)))  # type: ignore[arg-type]


def find(dsn: str, query: str, tenant: str = "default") -> list[str]:
    found = ask(dsn, lambda conn: search(conn, query, tenant))
    return [passage.document for passage in found]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "ada.md").write_text("# Ada Vantor\n\nAda Vantor works for Prask Clocks.")
    (tmp_path / "prask.md").write_text("# Prask Clocks\n\nPrask Clocks makes clocks in Velsu.")
    (tmp_path / "other.md").write_text("# Boats\n\nBoats are made of wood and other things.")
    return tmp_path


def test_what_fits_best_comes_first(database_dsn: str, folder: Path) -> None:
    add(database_dsn, folder)
    assert find(database_dsn, "Who does Ada Vantor work for?") == ["docs/ada.md"]
    assert find(database_dsn, "where does Prask make clocks")[0] == "docs/prask.md"
    assert find(database_dsn, "boat") == ["docs/other.md"]  # another ending
    assert find(database_dsn, "nothing like this: xyzzy") == []


def test_misspelt_words_are_found_by_their_parts(database_dsn: str, folder: Path) -> None:
    add(database_dsn, folder)
    assert find(database_dsn, "Vantorr") == ["docs/ada.md"]
    assert find(database_dsn, "Vantxxx") == ["docs/ada.md"]  # of half of its parts


def test_parts_of_words_are_looked_up_in_the_index(database_dsn: str, folder: Path) -> None:
    add(database_dsn, folder)

    async def plan(conn: Connection) -> str:
        await conn.execute("set enable_seqscan = off; set enable_indexscan = off")
        values = {"query": "Vantorr", "tenant": "default", "most": 5}
        rows = await (await conn.execute(f"explain {PARTS}".encode(), values)).fetchall()
        return "\n".join(line for (line,) in rows)

    assert "passages_by_trigram" in ask(database_dsn, plan)


def test_words_that_are_everywhere_are_not_asked_for(database_dsn: str, folder: Path) -> None:
    (folder / "ports.md").write_text("The service listens at the port that is set.")
    (folder / "the.md").write_text("The.")
    add(database_dsn, folder)
    assert find(database_dsn, "where is the port set") == ["docs/ports.md"]
    assert "docs/the.md" in find(database_dsn, "the")


@pytest.mark.parametrize("query", ["the of and", "'; drop table documents; --", "a & | ! (", "\\"])
def test_any_question_can_be_asked(database_dsn: str, folder: Path, query: str) -> None:
    add(database_dsn, folder)
    assert isinstance(find(database_dsn, query), list)
    assert find(database_dsn, "boats") == ["docs/other.md"]


def test_a_text_is_found_whatever_stands_between_its_words() -> None:
    body = "\n\n Der  WEG\u2003nach \r\n\tROM, der Weg\u0130\u03a3 nach Paris; der\nweg nach rom"
    found = [body[start:end] for start, end in places_of(" der  weg nach\nRom ", body)]
    assert found == ["Der  WEG\u2003nach \r\n\tROM", "der\nweg nach rom"]
    assert [body[a:b] for a, b in places_of("weg\u0130\u03c3", body)] == ["Weg\u0130\u03a3"]
    assert places_of(" \n", body) == []
    many = places_of("ab", "AB " * 20)
    assert many == [(3 * number, 3 * number + 2) for number in range(FINDS)]


@given(st.text("aB \n\t\u00a0", max_size=30), st.text("Ab \n", max_size=4))
@example("a" * BLOCK + " " * BLOCK + "\n b", "a b")
@example("a" * (BLOCK - 1) + "Bab", "bab")
def test_places_are_those_of_the_words(body: str, text: str) -> None:
    pattern = r"\s+".join(map(re.escape, text.split()))
    found = re.finditer(pattern, body, re.IGNORECASE) if pattern else ()
    assert places_of(text, body) == [match.span() for match in found][:FINDS]


def test_finding_takes_no_longer_for_a_longer_text() -> None:
    body = "0 " * 4_000_000
    began = time.process_time()
    assert places_of("0 " * 2000 + "1", body) == []
    assert len(places_of("0 " * 2000, body)) == FINDS
    assert time.process_time() - began < 30  # minutes, where each place is tried with all of it


def test_a_page_begins_where_it_is_asked_to(database_dsn: str, folder: Path) -> None:
    body = (folder / "ada.md").read_text()
    add(database_dsn, folder)
    for start in (0, 5, len(body), 2**40):
        page = ask(
            database_dsn,
            lambda conn, at=start: open_document(conn, "docs/ada.md", "default", start=at),
        )
        assert page is not None
        assert (page.start, page.length, page.text) == (start, len(body), body[start:])


def test_only_what_changed_is_read_again(database_dsn: str, folder: Path) -> None:
    done: list[tuple[int, int]] = []
    first = ask(
        database_dsn,
        lambda conn: add_folder(
            conn, folder, name="docs", each=lambda now, of: done.append((now, of))
        ),
    )
    assert (first.new, first.same) == (3, 0)
    assert done == [(1, 3), (2, 3), (3, 3)]
    (folder / "ada.md").write_text("# Ada Vantor\n\nAda Vantor sells violins now.")
    (folder / "other.md").unlink()
    (folder / "new.md").write_text("# New")
    (folder / "picture").write_bytes(b"\xff\xd8\xff")
    again = add(database_dsn, folder)
    assert (again.new, again.changed, again.same, again.gone) == (1, 1, 1, 1)
    assert [skipped.path for skipped in again.skipped] == ["picture"]
    assert find(database_dsn, "violins") == ["docs/ada.md"]
    assert find(database_dsn, "boats") == []


def test_what_cannot_be_read_changes_nothing(database_dsn: str, folder: Path) -> None:
    add(database_dsn, folder)
    (folder / "ada.md").unlink()
    make_unreadable(folder)
    with pytest.raises(OSError, match="too long"):
        add(database_dsn, folder)
    assert find(database_dsn, "Ada Vantor") == ["docs/ada.md"]


def test_a_folder_is_its_tenants_only(database_dsn: str, folder: Path) -> None:
    add(database_dsn, folder, tenants=["acme"])
    assert find(database_dsn, "boats") == []
    assert find(database_dsn, "boats", "acme") == ["docs/other.md"]
    assert ask(database_dsn, lambda conn: open_document(conn, "docs/other.md", "default")) is None
    assert ask(database_dsn, lambda conn: find_text(conn, "docs/other.md", "wood", "x")) is None


def test_a_folder_that_is_read_again_stays_its_tenants(database_dsn: str, folder: Path) -> None:
    assert add(database_dsn, folder, tenants=["acme"]).tenants == ("acme",)
    (folder / "new.md").write_text("# Kites")
    assert add(database_dsn, folder).tenants == ("acme",)
    assert find(database_dsn, "kites") == []
    assert find(database_dsn, "kites", "acme") == ["docs/new.md"]
    assert add(database_dsn, folder, tenants=["globex"]).tenants == ("globex",)
    assert find(database_dsn, "kites", "acme") == []
    assert add(database_dsn, folder, tenants=[]).tenants == ()
    assert find(database_dsn, "kites") == ["docs/new.md"]


def test_a_name_stands_for_one_folder(database_dsn: str, folder: Path) -> None:
    add(database_dsn, folder, tenants=["acme"])
    other = folder / "globex" / "docs"
    other.mkdir(parents=True)
    (other / "plan.md").write_text("# Plan")
    with pytest.raises(OtherPlace, match=f"'docs' is {folder} already: .*--name.*remove docs"):
        add(database_dsn, other, tenants=["globex"])
    assert find(database_dsn, "boats", "acme") == ["docs/other.md"]
    assert find(database_dsn, "plan", "globex") == []
    assert add(database_dsn, other, name="plans", tenants=["globex"]).new == 1


def test_folders_are_listed_and_removed(database_dsn: str, folder: Path) -> None:
    add(database_dsn, folder, tenants=["acme"])
    (listed,) = ask(database_dsn, list_folders)
    assert (listed.name, listed.documents, listed.tenants) == ("docs", 3, ["acme"])
    assert listed.place == str(folder)
    assert ask(database_dsn, lambda conn: remove_folder(conn, "docs"))
    assert not ask(database_dsn, lambda conn: remove_folder(conn, "docs"))
    assert ask(database_dsn, list_folders) == []
    assert find(database_dsn, "boats", "acme") == []
