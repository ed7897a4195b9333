from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from liveweights.release.alias import Release
from liveweights.release.history import former_lives


def release(action: str, checkpoint: str) -> Release:
    return Release(action, checkpoint, None, "")  # type: ignore[arg-type]


def test_a_rollback_never_returns_to_what_was_rolled_back_from() -> None:
    story = [release("create", "a"), release("promote", "b"), release("promote", "c")]
    assert former_lives(story) == ["b", "a"]
    story.append(release("rollback", "b"))
    assert former_lives(story) == ["a"]
    story += [release("canary", "d"), release("abort", "d"), release("promote", "e")]
    assert former_lives(story) == ["b", "a"]
    story.append(release("rollback", "z"))  # to one that was never live here
    assert former_lives(story) == ["b", "a"]
    story += [release("rollback", "a")]
    assert former_lives(story) == []


@given(st.lists(st.sampled_from("abcd"), max_size=12), st.data())
def test_rolling_back_again_and_again_ends(promoted: list[str], data: st.DataObject) -> None:
    story, live = [release("create", "a")], "a"
    for checkpoint in promoted:
        if checkpoint != live:
            action = data.draw(st.sampled_from(["promote", "rollback"]))
            story.append(release(action, checkpoint))
            live = checkpoint
    seen = [live]
    while former := former_lives(story):
        assert former[0] not in seen
        seen.append(former[0])
        story.append(release("rollback", former[0]))
    assert len(seen) <= 4
