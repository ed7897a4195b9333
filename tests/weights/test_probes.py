from __future__ import annotations

import json
from pathlib import Path

import pytest

from liveweights.weights.probes import Probe, Probes, read_probes


def test_probes_are_read_from_the_folder(tmp_path: Path) -> None:
    assert read_probes(tmp_path) is None
    written = {"probes": [{"prompt_ids": [1, 2], "top": [[7, -0.5, -0.75]]}]}
    (tmp_path / "probes.json").write_text(json.dumps(written))
    assert read_probes(tmp_path) == Probes([Probe([1, 2], [(7, -0.5, -0.75)])])
    (tmp_path / "probes.json").write_text('{"probes": [{}]}')
    with pytest.raises(ValueError, match=r"probes\.json cannot be read.*prompt_ids"):
        read_probes(tmp_path)
