"""Six models of four makers, and what is drawn of their traffic."""

from __future__ import annotations

import datetime
from typing import Any

from hypothesis import strategies as st

from liveweights.catalog.catalogue import Catalogue
from liveweights.exposure.facts import HERE, Served, Traffic
from liveweights.terms.facts import facts_of

CATALOGUE = Catalogue()
START = datetime.date(2026, 10, 1)
NAMES = {
    "code": ("Qwen/Qwen3-8B", HERE),
    "chat": ("Qwen/Qwen2.5-7B-Instruct", HERE),
    "big": ("moonshotai/Kimi-K2.5", "api.example"),
    "small": ("HuggingFaceTB/SmolLM2-135M-Instruct", HERE),
    "open": ("openai/gpt-oss-20b", HERE),
    "far": ("moonshotai/Kimi-K2-Instruct", "other.example"),
}


def make_served(alias: str, name: str, upstream: str = HERE) -> Served:
    card = CATALOGUE.find(name)
    return Served(facts=facts_of(CATALOGUE, card, alias), card=card, upstream=upstream)


SERVED = [make_served(alias, *where) for alias, where in NAMES.items()]


def make_traffic(alias: str, day: int = 0, **counts: Any) -> Traffic:
    values = {"answers": 10, "prompt_tokens": 100, "output_tokens": 20, **counts}
    return Traffic(alias=alias, day=START + datetime.timedelta(days=day), **values)


counts = st.integers(0, 1000)
tenants = st.dictionaries(
    st.tuples(st.sampled_from([*NAMES]), st.none()),
    st.sets(st.sampled_from(["acme", "beta", "lab"])),
)
traffic = st.lists(
    st.builds(
        make_traffic,
        st.sampled_from([*NAMES, "gone"]),
        st.integers(0, 40),
        answers=counts,
        prompt_tokens=counts,
        output_tokens=counts,
        revenue=st.dictionaries(st.sampled_from(["EUR", "USD"]), counts),
        accepted=counts,
        rejected=counts,
    ),
    max_size=30,
)
