"""Nothing of a user stays in the files of days, wherever a process died."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from liveweights.record import forgotten_files, rollups
from liveweights.record.archive import archive, restore
from liveweights.record.archive_rows import Archived, read_archives
from liveweights.record.forgotten_files import ForgottenEverywhere, forget_everywhere

from .rows import make_generation
from .test_archive import DAY, NEXT, ROWS, dump, write
from .test_rollups import timed_id
from .test_window import ask, record

BOTH: list[date] = [DAY.date(), NEXT.date()]


def put_away(dsn: str, folder: Path) -> None:
    for day in BOTH:
        ask(dsn, lambda conn, day=day: archive(conn, day, folder))


def forget(dsn: str, folder: Path) -> ForgottenEverywhere:
    return ask(dsn, lambda conn: forget_everywhere(conn, "default", "ada", folder))


def users(folder: Path) -> set[str | None]:
    """In all files."""
    pq = pytest.importorskip("pyarrow.parquet")
    read = (pq.read_table(file, columns=["user_id"]) for file in folder.glob("*.parquet"))
    return {user for table in read for user in table.column("user_id").to_pylist()}


def away(dsn: str) -> list[bool]:
    return [one.is_away and not one.borrowed for one in ask(dsn, read_archives)]


def test_a_user_is_forgotten_in_the_files_too(database_dsn: str, tmp_path: Path) -> None:
    write(database_dsn)
    put_away(database_dsn, tmp_path)
    done = forget(database_dsn, tmp_path)
    assert (done.forgotten.generations, done.days, done.left) == (5, BOTH, [])
    assert dump(database_dsn)["generations"] == []
    assert away(database_dsn) == [True, True]
    assert users(tmp_path) == {"bob"}
    for day in BOTH:
        ask(database_dsn, lambda conn, day=day: restore(conn, day, tmp_path))
    assert len(dump(database_dsn)["generations"]) == ROWS
    assert ask(database_dsn, rollups.differences) == []
    assert forget(database_dsn, tmp_path).days == []


def test_files_of_a_day_that_was_brought_back_are_looked_at_too(
    database_dsn: str, tmp_path: Path
) -> None:
    write(database_dsn)
    put_away(database_dsn, tmp_path)
    ask(database_dsn, lambda conn: restore(conn, BOTH[0], tmp_path))
    done = forget(database_dsn, tmp_path)
    assert (done.forgotten.generations, done.days) == (5, BOTH)
    assert users(tmp_path) == {"bob"}
    first, second = ask(database_dsn, read_archives)
    assert (first.generations, first.is_away, second.is_away) == (3, False, True)


def test_late_rows_in_further_files_are_forgotten(database_dsn: str, tmp_path: Path) -> None:
    write(database_dsn)
    put_away(database_dsn, tmp_path)
    record(database_dsn, make_generation(timed_id(DAY, 77), created_at=DAY, user="cy"))
    ask(database_dsn, lambda conn: archive(conn, BOTH[0], tmp_path))
    assert "cy" in users(tmp_path)
    done = ask(database_dsn, lambda c: forget_everywhere(c, "default", "cy", tmp_path))
    assert (done.forgotten.generations, done.days) == (1, [BOTH[0]])
    assert users(tmp_path) == {"ada", "bob"}


def test_a_chat_that_went_on_on_another_day_without_a_name_is_the_users(
    database_dsn: str, tmp_path: Path
) -> None:
    chat: dict[str, Any] = {"endpoint": "chat", "session": "s"}
    ids = [timed_id(at, 1) for at in (DAY, NEXT)]
    record(database_dsn, make_generation(ids[0], created_at=DAY, user="ada", **chat))
    record(database_dsn, make_generation(ids[1], created_at=NEXT, user=None, **chat))
    put_away(database_dsn, tmp_path)
    done = forget(database_dsn, tmp_path)
    assert (done.forgotten.generations, done.days) == (2, BOTH)
    assert users(tmp_path) == set()


def test_files_that_a_killed_process_left_are_gone(database_dsn: str, tmp_path: Path) -> None:
    write(database_dsn)
    ask(database_dsn, lambda conn: archive(conn, BOTH[0], tmp_path))
    for name in ("2026-02-01.generations.2.parquet", "2026-02-02.feedback.parquet.partial"):
        (tmp_path / name).write_text("ada")
    (tmp_path / "2025-01-01.feedback.parquet").touch()  # of a day that this database never had
    assert forget(database_dsn, tmp_path).left == []
    assert {file.name for file in tmp_path.iterdir()} == {
        "2025-01-01.feedback.parquet",
        "2026-02-01.feedback.parquet",
        "2026-02-01.generations.parquet",
    }


def test_another_tenants_user_of_that_name_stays_where_it_is(
    database_dsn: str, tmp_path: Path
) -> None:
    id = timed_id(DAY, 1)
    record(database_dsn, make_generation(id, created_at=DAY, user="ada", tenant="acme"))
    ask(database_dsn, lambda conn: archive(conn, BOTH[0], tmp_path))
    done = forget(database_dsn, tmp_path)
    assert (done.forgotten.generations, done.days) == (0, [])


class Killed(BaseException):
    pass


@pytest.mark.parametrize("where", ["restore", "forget", "_renew", "archive", "rewrite"])
@pytest.mark.parametrize("before", [True, False])
def test_asking_again_finishes_what_a_kill_left(
    database_dsn: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    where: str,
    before: bool,
) -> None:
    write(database_dsn)
    third = NEXT + timedelta(days=1)
    record(database_dsn, make_generation(timed_id(third, 1), created_at=third, user="ada"))
    for day in (*BOTH, third.date()):
        ask(database_dsn, lambda conn, day=day: archive(conn, day, tmp_path))
    ask(database_dsn, lambda conn: restore(conn, third.date(), tmp_path))
    real = getattr(forgotten_files, where)

    async def die(*arguments: Any, **named: Any) -> None:
        if not before:
            await real(*arguments, **named)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(forgotten_files, where, die)
        with pytest.raises(Killed):
            forget(database_dsn, tmp_path)
    assert forget(database_dsn, tmp_path).left == []
    assert users(tmp_path) == {"bob"}
    assert away(database_dsn) == [True, True, False]
    ids: set[str] = {row[16] for row in dump(database_dsn)["generations"]}
    assert ids == set()


def test_a_day_whose_files_cannot_be_written_is_named(
    database_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(database_dsn)
    put_away(database_dsn, tmp_path)
    real = forgotten_files.archive

    async def fail(conn: Any, day: date, folder: Path) -> Archived:
        if day == BOTH[0]:
            raise OSError("no space left")
        return await real(conn, day, folder)

    with monkeypatch.context() as patch:
        patch.setattr(forgotten_files, "archive", fail)
        done = forget(database_dsn, tmp_path)
    assert done.days == [BOTH[1]]
    assert "2026-02-01 may still hold rows that are removed: no space left" in done.left[0]
    assert forget(database_dsn, tmp_path).days == [BOTH[0]]
    assert users(tmp_path) == {"bob"}
