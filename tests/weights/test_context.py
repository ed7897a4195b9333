from __future__ import annotations

import json
from pathlib import Path

from liveweights.weights.context import LEAST, own_context, read_context


def test_configs_say_it_in_several_ways() -> None:
    assert own_context({"text_config": {"max_position_embeddings": 32768}}) == 32768
    assert own_context({"n_positions": 1024}) == 1024
    assert own_context({"max_position_embeddings": None}) is None


def test_a_folder_that_says_nothing_is_taken_for_the_least(tmp_path: Path) -> None:
    assert read_context(tmp_path) == LEAST
    (tmp_path / "config.json").write_text(json.dumps({"n_positions": 256}))
    assert read_context(tmp_path) == 256
