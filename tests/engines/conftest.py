"""Weights for the engines' tests."""

from __future__ import annotations

from typing import Any

import pytest
from tests.engines.reference import make_adapter

from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.models import load_tokenizer


@pytest.fixture(scope="session")
def tokenizer(base: Checkpoint) -> Any:
    return load_tokenizer(base)


@pytest.fixture(scope="session")
def adapter(base: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return make_adapter(base, tmp_path_factory.mktemp("adapter"))
