from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.learn.families import make_family

from liveweights.learn.policy import Policy
from liveweights.learn.settings import LearnSettings
from liveweights.learn.tree import TokenRow
from liveweights.learn.ways import Way, file_of, read_way, write_way

SETTINGS = LearnSettings(rank=4)


def test_a_way_that_was_found_is_not_looked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base, ways = make_family("llama", tmp_path / "model"), tmp_path / "ways"
    found = Policy(base, None, SETTINGS, ways)
    assert len(list(ways.iterdir())) == 1

    def refuse(policy: Policy) -> None:
        raise AssertionError("it is known")

    monkeypatch.setattr(Policy, "_choose_way", refuse)
    again = Policy(base, None, SETTINGS, ways)
    assert (again.layout, again.headless) == (found.layout, found.headless)
    rows, heat_B = [TokenRow([1, 2, 3], [4, 5]), TokenRow([1, 2, 6], [7])], torch.ones(2)
    assert torch.equal(again.logprobs(rows, heat_B)[0], found.logprobs(rows, heat_B)[0])


def test_another_model_precision_or_part_has_a_way_of_its_own(tmp_path: Path) -> None:
    one, other = (make_family(name, tmp_path / name) for name in ("llama", "mixtral"))
    files = {
        file_of(tmp_path, one, SETTINGS, dtype="float32", device="cpu"),
        file_of(tmp_path, other, SETTINGS, dtype="float32", device="cpu"),
        file_of(tmp_path, one, SETTINGS, dtype="bfloat16", device="cpu"),
        file_of(
            tmp_path, one, LearnSettings(rank=4, adapt=("mlp",)), dtype="float32", device="cpu"
        ),
    }
    assert len(files) == 4


def test_what_cannot_be_read_is_looked_for_again(tmp_path: Path) -> None:
    file = tmp_path / "ways" / "x.json"
    assert read_way(file) is None
    way = Way(layout="trees", headless=True, bytes_per_node=1e5)
    write_way(file, way)
    assert read_way(file) == way
    file.write_text("{")
    assert read_way(file) is None


def test_where_nothing_can_be_kept_the_way_is_taken_all_the_same(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "ways").write_text("a file in the folder's place")
    file = tmp_path / "ways" / "x.json"
    write_way(file, Way(layout="trees", headless=True, bytes_per_node=1e5))
    assert "is not kept" in caplog.text
    assert read_way(file) is None
