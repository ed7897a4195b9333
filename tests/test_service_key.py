from __future__ import annotations

from pathlib import Path

from liveweights.service_key import FILE, PREFIX, key_for, make_key, read_key


def test_every_start_has_a_key_of_its_own_that_only_its_owner_reads(tmp_path: Path) -> None:
    first, second = make_key(tmp_path), make_key(tmp_path)
    assert first != second
    assert first.startswith(PREFIX)
    assert len(first) > len(PREFIX) + 40
    assert read_key(tmp_path) == second
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


def test_a_home_without_a_service_has_none(tmp_path: Path) -> None:
    assert read_key(tmp_path) == ""


def test_it_is_shown_to_this_machine_only(tmp_path: Path) -> None:
    key = make_key(tmp_path)
    for url in ("http://127.0.0.1:8090", "http://localhost:1/", "http://[::1]:8090"):
        assert key_for(url, tmp_path, "127.0.0.1") == key
    assert key_for("http://10.0.0.5:8090", tmp_path, "10.0.0.5") == key
    for url in (
        "http://models.example.com",
        "http://10.0.0.5:8090",
        "http://127.0.0.1.example.com",
    ):
        assert key_for(url, tmp_path, "127.0.0.1") == ""
