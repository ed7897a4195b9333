from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from liveweights.replay.speed import choose_threads, measure_apart

rates = st.dictionaries(st.integers(1, 64), st.floats(1e6, 1e15), min_size=1)


@given(rates)
def test_the_threads_that_are_chosen_were_tried_and_are_about_as_fast_as_any(
    tried: dict[int, float],
) -> None:
    chosen = choose_threads(tried)
    assert chosen in tried
    assert tried[chosen] * 1.15 >= max(
        rate for n, rate in tried.items() if n > chosen or n == chosen
    )


def test_a_core_that_something_else_keeps_busy_is_left_to_it() -> None:
    assert choose_threads({1: 100.0, 2: 105.0}) == 1
    assert choose_threads({1: 100.0, 2: 60.0}) == 1
    assert choose_threads({1: 100.0, 2: 190.0}) == 2
    assert choose_threads({1: 100.0, 2: 190.0, 4: 200.0}) == 2


def test_it_measures_in_a_process_of_its_own() -> None:
    speed = asyncio.run(measure_apart())
    assert speed.threads >= 1
    assert speed.flops >= speed.single > 1e6
