"""Models on the bases that their aliases were switched to."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from liveweights.app.bases import Change, at_bases, plan_change
from liveweights.config import Config
from liveweights.cycle.bases import Standing
from liveweights.model_table import ModelTable

OLD, NEW, THIRD = (f"{name}@000000000000" for name in ("old", "new", "third"))
CONFIG = Config(models={"code": ModelTable(base="old"), "chat": ModelTable(base="old")})
CALLED = {OLD: "old", NEW: "/models/new"}


def bases(config: Config) -> dict[str, str]:
    return {model.alias: model.base for model in config.list_models()}


def test_a_model_is_on_the_base_that_its_alias_stands_on() -> None:
    followed = at_bases(CONFIG, {"code": Standing(NEW, None, CALLED)})
    assert bases(followed) == {"code": "/models/new", "chat": "old"}
    assert at_bases(CONFIG, {"code": Standing(OLD, NEW, CALLED)}) == CONFIG


def test_settings_that_say_something_new_stay() -> None:
    changed = CONFIG.with_base("code", "third")
    assert at_bases(changed, {"code": Standing(NEW, None, CALLED)}) == changed
    followed = CONFIG.with_base("code", "/models/new")
    assert at_bases(followed, {"code": Standing(NEW, None, CALLED)}) == followed


def test_a_switch_and_the_way_back() -> None:
    begun = Standing(OLD, NEW, CALLED)
    assert plan_change(begun, answers=OLD, beside=None, is_ready=False) == Change("open", NEW)
    assert plan_change(begun, answers=OLD, beside=NEW, is_ready=False) is None
    done = Standing(NEW, None, CALLED)
    assert plan_change(done, answers=OLD, beside=NEW, is_ready=False) is None
    taken = Change("take over", NEW)
    assert plan_change(done, answers=OLD, beside=NEW, is_ready=True) == taken
    assert plan_change(done, answers=NEW, beside=OLD, is_ready=True) == Change("close", OLD)
    assert plan_change(done, answers=NEW, beside=None, is_ready=False) is None
    back = Standing(OLD, None, CALLED)
    assert plan_change(back, answers=NEW, beside=None, is_ready=False) == Change("open", OLD)
    given_up = Standing(OLD, None, CALLED)
    assert plan_change(given_up, answers=OLD, beside=NEW, is_ready=False) == Change("close", NEW)


BASES = st.sampled_from([OLD, NEW, THIRD])


@given(BASES, st.none() | BASES, BASES, st.none() | BASES)
def test_whatever_is_open_an_alias_comes_to_its_base_and_keeps_what_it_tries(
    stands: str, tries: str | None, answers: str, beside: str | None
) -> None:
    standing = Standing(stands, tries if tries != stands else None, {})
    beside = beside if beside != answers else None
    for _ in range(6):
        change = plan_change(standing, answers=answers, beside=beside, is_ready=beside == stands)
        if change is None:
            break
        if change.kind == "open":
            assert beside is None
            beside = change.base
        elif change.kind == "take over":
            assert beside == stands
            answers, beside = beside, answers
        else:
            assert change.base == beside != (tries if answers == stands else stands)
            beside = None
    assert answers == stands
    assert beside == standing.tries
