from __future__ import annotations

from typing import Any

import pytest

from liveweights.config import Config
from liveweights.model_table import ConfigError, ModelSettings, read_table


@pytest.mark.parametrize(
    ("name", "keys", "why"),
    [
        ("a", {"basee": "x"}, "the model 'a': .* unknown field `basee`"),
        ("a", {"upstream": 3}, "the model 'a': .*`models.a.upstream`"),
        ("", {}, "the model ''"),
        ("memory_gib", {}, "the name of a number"),
        ("a", {"openai": {"key": "sk-1"}}, "models.a.openai.key: the database keeps no secrets"),
    ],
)
def test_what_is_wrong_in_a_row_is_told(name: str, keys: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigError, match=why) as refused:
        read_table(name, keys)
    assert "sk-1" not in str(refused.value)


def test_what_runs_for_a_model_goes_on_where_it_only_learns_otherwise() -> None:
    def model(**keys: Any) -> ModelSettings:
        return Config().with_models({"a": read_table("a", keys)}).find_model("a")

    before = model(engine={"slots": 2})
    assert before.runs_like(model(engine={"slots": 2}, learn=False, rewards={"accepted": 0.5}))
    for other in ({}, {"base": "x"}, {"pinned": True}, {"template": {"seconds": 1.5}}):
        assert not before.runs_like(model(**{"engine": {"slots": 2}, **other} if other else {}))
