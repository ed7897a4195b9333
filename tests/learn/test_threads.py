from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from liveweights.learn import threads
from liveweights.learn.threads import Threads, faster


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def slow_with(monkeypatch: pytest.MonkeyPatch, slow: int) -> None:
    """A multiplication takes three times as long with so many threads."""
    clock = [0.0]

    def multiply(*_: torch.Tensor) -> None:
        clock[0] += 3.0 if torch.get_num_threads() == slow else 1.0

    monkeypatch.setattr(threads.torch, "mm", multiply)
    monkeypatch.setattr(threads.time, "perf_counter", lambda: clock[0])


@pytest.mark.parametrize(("slow", "best"), [(4, 2), (2, 4)])
def test_the_faster_number_is_taken(monkeypatch: pytest.MonkeyPatch, slow: int, best: int) -> None:
    slow_with(monkeypatch, slow)
    assert faster(4, 2) == best


def test_it_is_measured_again_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "compute_cores", lambda: 4)
    now = [100.0]
    monkeypatch.setattr(threads.time, "monotonic", lambda: now[0])
    own = Threads(0)
    assert torch.get_num_threads() == 4
    slow_with(monkeypatch, 4)
    own.settle()
    assert torch.get_num_threads() == 2
    slow_with(monkeypatch, 2)
    own.settle()
    assert torch.get_num_threads() == 2
    now[0] += threads.AGAIN
    own.settle()
    assert torch.get_num_threads() == 4


def test_a_given_number_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    slow_with(monkeypatch, 3)
    own = Threads(3)
    own.settle()
    assert torch.get_num_threads() == 3
