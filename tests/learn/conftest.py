"""Updates are compared with each other exactly: in float32, whatever this CPU is fast at."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from liveweights.learn.updaters import load


@pytest.fixture(scope="session", autouse=True)
def plain_cpu() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(load, "multiplies_bfloat16", lambda: False)
        yield
