from __future__ import annotations

import threading
import time
from pathlib import Path

from liveweights.record.binary import encode
from liveweights.record.leftovers import drop_spilled
from liveweights.record.spill import Spill

from .rows import make_generation

ADA = "default", "ada"


def fill(folder: Path, *users: str | None, tenant: str = "default") -> Spill:
    spill = Spill(folder)
    spill.append(
        [
            encode(make_generation(f"{user}{n}", user=user, tenant=tenant))
            for n, user in enumerate(users)
        ]
    )
    return spill


def left(folder: Path) -> list[str]:
    spill = Spill(folder)
    found: list[str] = []
    while spill.rows:
        found += [row.id for row in spill.oldest()]
        spill.remove_oldest()
    spill.close()
    return found


def test_a_users_rows_leave_the_disk_of_every_role(tmp_path: Path) -> None:
    fill(tmp_path / "api", "ada", "bob", None, "ada").close()
    fill(tmp_path / "gateway", "ada").close()
    fill(tmp_path / "other", "ada", tenant="other").close()
    assert drop_spilled(tmp_path, ADA, 0.0) == []
    assert left(tmp_path / "api") == ["bob1", "None2"]
    assert left(tmp_path / "gateway") == []
    assert left(tmp_path / "other") == ["ada0"]


def test_where_nothing_ever_waited_nothing_is_left(tmp_path: Path) -> None:
    assert drop_spilled(tmp_path / "spill", ADA, 0.0) == []


def test_a_running_writer_is_waited_for(tmp_path: Path) -> None:
    spill = fill(tmp_path / "api", "ada", "bob")

    def write() -> None:
        time.sleep(0.3)
        spill.remove_oldest()

    thread = threading.Thread(target=write)
    thread.start()
    assert drop_spilled(tmp_path, ADA, 60.0) == []
    thread.join()
    spill.close()


def test_one_that_does_not_write_is_told_of(tmp_path: Path) -> None:
    spill = fill(tmp_path / "api", "ada", "bob")
    (said,) = drop_spilled(tmp_path, ADA, 0.0)
    assert "a running process keeps rows in" in said
    spill.close()


def test_what_cannot_be_read_is_told_of(tmp_path: Path) -> None:
    fill(tmp_path / "api", "ada", "bob").close()
    (segment,) = (tmp_path / "api").glob("*.rows")
    segment.write_bytes(segment.read_bytes()[:-3])
    (said,) = drop_spilled(tmp_path, ADA, 0.0)
    assert "is damaged and may hold rows of the user" in said
    (damaged,) = (tmp_path / "api").glob("*.damaged")
    assert b"ada0" not in damaged.read_bytes()
    assert b"bob1" in damaged.read_bytes()
    other = tmp_path / "api" / "0000000009-1.rows"
    other.write_bytes(b"of another version")
    assert any("another version" in sentence for sentence in drop_spilled(tmp_path, ADA, 0.0))
