from __future__ import annotations

import pytest
import torch

from liveweights.learn.settings import LearnSettings
from liveweights.learn.updaters import load


@pytest.mark.parametrize(("units", "dtype"), [(True, torch.bfloat16), (False, torch.float32)])
def test_a_cpu_computes_in_bfloat16_only_where_it_has_units_for_it(
    monkeypatch: pytest.MonkeyPatch, units: bool, dtype: torch.dtype
) -> None:
    monkeypatch.setattr(load, "multiplies_bfloat16", lambda: units)
    assert load.compute_dtype(LearnSettings(device="cpu")) == dtype
    assert load.compute_dtype(LearnSettings(device="cuda")) == torch.bfloat16
    assert load.compute_dtype(LearnSettings(device="cpu", dtype="float32")) == torch.float32
