from __future__ import annotations

import pytest

from liveweights.agentdb.clone import SMALL, Strategy, choose


@pytest.mark.parametrize(
    ("size", "reflink", "durable", "expected"),
    [
        (0, True, False, Strategy.CLONE),
        (SMALL, True, False, Strategy.CLONE),
        (0, True, True, Strategy.LOG),
        (SMALL, True, True, Strategy.CLONE),
        (0, False, False, Strategy.LOG),
        (SMALL, False, False, Strategy.COPY),
        (0, False, True, Strategy.LOG),
        (SMALL, False, True, Strategy.COPY),
    ],
)
def test_choice(size: int, reflink: bool, durable: bool, expected: Strategy) -> None:
    assert choose(size, reflink=reflink, durable=durable) is expected
