from __future__ import annotations

import threading

from liveweights.engines.deep_threads import start_deep_threads


def test_all_are_started_and_others_keep_their_size() -> None:
    before = threading.stack_size()
    with start_deep_threads(3, "deep-of-a-test") as threads:
        assert threading.stack_size() == before
        names = {one.name for one in threading.enumerate()}
        assert {f"deep-of-a-test_{i}" for i in range(3)} <= names
        assert list(threads.map(abs, [-1, -2])) == [1, 2]
