from __future__ import annotations

import time
import uuid

from liveweights.record.response import generation_of, response_of
from liveweights.serve.api.identifiers import make_id


def test_is_a_version_7_uuid_of_now() -> None:
    prefix, _, digits = make_id("gen").partition("_")
    made = uuid.UUID(hex=digits)
    assert prefix == "gen"
    assert len(digits) == 32
    assert made.version == 7
    assert made.variant == uuid.RFC_4122
    assert abs((made.int >> 80) - time.time() * 1000) < 60_000


def test_later_ones_sort_later_and_none_repeats() -> None:
    first = make_id("gen")
    time.sleep(0.002)
    later = [make_id("gen") for _ in range(1000)]
    assert len(set(later)) == 1000
    assert all(first < one for one in later)


def test_a_response_and_its_generation_name_each_other() -> None:
    generation = make_id("gen")
    assert response_of(generation).startswith("resp_0")
    assert generation_of(response_of(generation)) == generation_of(generation) == generation
    assert generation_of("chatcmpl-7") == "chatcmpl-7"
