from __future__ import annotations

import os
import time
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from liveweights.record.binary import Row, encode
from liveweights.record.spill import Spill, SpillInUse, SpillUnreadable

from .rows import make_generation
from .test_rollups import DAY, timed_id


def rows(*ids: str) -> list[Row]:
    return [encode(make_generation(id)) for id in ids]


def same(found: list[Row], meant: list[Row]) -> bool:
    return [(r.id, r.day, r.data) for r in found] == [(r.id, r.day, r.data) for r in meant]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(sizes=st.lists(st.integers(1, 5), max_size=6), reopen=st.booleans())
def test_what_goes_in_comes_out_in_order(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], reopen: bool
) -> None:
    folder = tmp_path_factory.mktemp("spill")
    spill = Spill(folder)
    batches = [rows(*(f"g{n}-{k}" for k in range(size))) for n, size in enumerate(sizes)]
    for batch in batches:
        spill.append(batch)
    if reopen:
        spill.close()
        spill = Spill(folder)
    assert spill.rows == sum(sizes)
    for batch in batches:
        assert same(spill.oldest(), batch)
        spill.remove_oldest()
    assert spill.rows == 0
    assert not spill.full
    spill.close()


def test_days_are_kept(tmp_path: Path) -> None:
    row = encode(make_generation(timed_id(DAY, 1), created_at=DAY))
    spill = Spill(tmp_path)
    spill.append([row])
    assert spill.oldest()[0].day == DAY.date()


def test_a_segment_that_was_cut_off_while_written_is_no_segment(tmp_path: Path) -> None:
    spill = Spill(tmp_path)
    spill.append(rows("a"))
    spill.close()
    (tmp_path / "0000000002-9.new").write_bytes(b"half a")
    again = Spill(tmp_path)
    assert again.rows == 1
    assert not (tmp_path / "0000000002-9.new").exists()


def test_damage_costs_what_follows_it_and_no_more(tmp_path: Path) -> None:
    spill = Spill(tmp_path)
    meant = rows("a", "b", "c")
    spill.append(meant)
    (path,) = tmp_path.glob("*.rows")
    content = bytearray(path.read_bytes())
    content[-1] ^= 0xFF
    path.write_bytes(content)
    assert same(spill.oldest(), meant[:2])
    spill.remove_oldest()
    assert spill.rows == 0
    (kept,) = tmp_path.glob("*.damaged")  # for people to look at
    assert kept.read_bytes() == bytes(content)


def test_a_row_that_is_no_row_is_damage_too(tmp_path: Path) -> None:
    spill = Spill(tmp_path)
    good, bad = rows("a", "b")
    spill.append([good, msgspec.structs.replace(bad, data=b"none of ours")])
    assert same(spill.oldest(), [good])


def test_how_much_waits_and_since_when(tmp_path: Path) -> None:
    spill = Spill(tmp_path)
    assert (spill.bytes, spill.since) == (0, None)
    before = time.time()
    spill.append(rows("a"))
    size = spill.bytes
    assert size == sum(path.stat().st_size for path in tmp_path.glob("*.rows"))
    assert spill.since is not None
    assert before - 5 < spill.since < time.time() + 5
    os.utime(next(tmp_path.glob("*.rows")), (1000, 1000))
    spill.append(rows("b", "c"))
    assert spill.since == 1000
    spill.remove_oldest()
    assert spill.since > 1000
    assert 0 < spill.bytes < 3 * size


def test_what_the_disk_does_not_take_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spill = Spill(tmp_path)

    def full(_: int) -> None:
        raise OSError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="no space"):
            spill.append(rows("a"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lock"]
    spill.append(rows("a"))
    assert spill.rows == 1


def test_one_process_at_a_time(tmp_path: Path) -> None:
    spill = Spill(tmp_path)
    with pytest.raises(SpillInUse, match=str(tmp_path)):
        Spill(tmp_path)
    spill.close()
    Spill(tmp_path).close()


def test_rows_of_another_version_are_told(tmp_path: Path) -> None:
    (tmp_path / "0000000001-1.rows").write_bytes(b"liveweights rows 0\nid\n")
    with pytest.raises(SpillUnreadable, match="another version"):
        Spill(tmp_path)


def test_full_at_its_limit(tmp_path: Path) -> None:
    spill = Spill(tmp_path)
    spill.append(rows("a"))
    assert not spill.full
    spill.close()
    size = sum(path.stat().st_size for path in tmp_path.glob("*.rows"))
    spill = Spill(tmp_path, limit=size + 1)
    assert not spill.full
    spill.append(rows("b"))
    assert spill.full
    spill.remove_oldest()
    assert not spill.full


def test_rows_are_dropped_from_any_segment(tmp_path: Path) -> None:
    spill = Spill(tmp_path)
    batches = [("a1", "b1"), ("a2", "a3"), ("b2",), ("a4", "b3", "a5")]
    for batch in batches:
        spill.append(rows(*batch))
    size = sum(path.stat().st_size for path in tmp_path.glob("*.rows"))
    assert spill.drop(lambda row: row.id.startswith("a")) == 5
    assert spill.rows == 3
    assert spill.bytes == sum(path.stat().st_size for path in tmp_path.glob("*.rows")) < size
    spill.append(rows("b4"))
    found: list[str] = []
    spill.close()
    spill = Spill(tmp_path)
    while spill.rows:
        found += [row.id for row in spill.oldest()]
        spill.remove_oldest()
    assert found == ["b1", "b2", "b3", "b4"]
    assert list(tmp_path.iterdir()) == [tmp_path / "lock"]


def test_what_has_nothing_to_drop_stays_as_it_is(tmp_path: Path) -> None:
    spill = Spill(tmp_path)
    spill.append(rows("a", "b"))
    (path,) = tmp_path.glob("*.rows")
    before = path.read_bytes()
    assert spill.drop(lambda row: False) == 0
    assert path.read_bytes() == before
