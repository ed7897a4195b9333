from __future__ import annotations

import re
from typing import get_args

import msgspec

from liveweights.config import Config
from liveweights.gate.advice import advise
from liveweights.gate.settings import GateSettings
from liveweights.gate.verdict import Cause

NAMED = re.compile(r"\b(learn|gate)\.(\w+)")


def test_every_cause_has_advice_and_what_it_names_can_be_set() -> None:
    config = Config()
    for cause in get_args(Cause):
        (sentence,) = advise([cause, cause], GateSettings())
        for section, key in NAMED.findall(sentence):
            names = msgspec.structs.asdict(getattr(config, section))
            assert key in names or (key == "max_" and "gate.max_*" in sentence), sentence


def test_drift_is_answered_by_the_size_of_the_step() -> None:
    assert "learn.kl_target" in advise(["drift"], GateSettings())[0]
