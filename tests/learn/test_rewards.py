from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.record.rows import make_generation

from liveweights.learn.rewards import Reward, RewardMap, reward, survival
from liveweights.record.feedback import Feedback, Signal

MAP = RewardMap()
SERVED = datetime(2026, 1, 1, tzinfo=UTC)


def said(
    signal: Signal, value: float | None = None, text: str | None = None, after: float = 60.0
) -> Feedback:
    at = SERVED + timedelta(seconds=after)
    return Feedback(id="i", generation="g", signal=signal, value=value, text=text, received_at=at)


def worth(*feedback: Feedback, output: str = "answer") -> float | None:
    found = reward(output, feedback, MAP, completed=SERVED)
    return found.value if found else None


@pytest.mark.parametrize(
    ("feedback", "expected"),
    [
        ([said("accepted")], Reward(0.75, "accepted")),
        ([said("rejected")], Reward(-0.25, "rejected")),
        ([said("accepted"), said("rejected")], Reward(-0.25, "rejected")),
        ([said("thumbs", 1), said("reward", 0.3)], Reward(0.3, "reward")),
        ([said("correction", text="other")], Reward(-0.25, "correction")),
        ([said("comment", text="No, that's wrong")], Reward(-0.5, "dissatisfied")),
        ([said("shown")], None),
        ([said("comment", text="hm")], None),
        ([], None),
    ],
)
def test_one_kind_of_signal_decides_by_its_last(
    feedback: list[Feedback], expected: Reward | None
) -> None:
    assert reward("answer", feedback, MAP) == expected


def test_what_survives_outweighs_the_first_click() -> None:
    gone = worth(said("accepted"), said("edited", text="", after=600))
    assert gone is not None
    assert gone < 0
    kept = worth(said("rejected"), said("edited", text="answer", after=600))
    assert kept is not None
    assert kept > 0.5


def test_an_edit_counts_more_once_it_has_settled() -> None:
    early = worth(said("accepted", after=1), said("edited", text="", after=5))
    late = worth(said("accepted", after=1), said("edited", text="", after=35))
    assert early is not None
    assert late is not None
    assert late < early < 0.75


def test_it_settles_from_when_it_was_seen() -> None:
    """A slow answer's immediate edit has not settled, nor one of what was shown late."""
    slow = make_generation("g", created_at=SERVED - timedelta(seconds=40), total_ms=40_000.0)
    assert slow.completed_at == SERVED
    edits = [said("accepted", after=1), said("edited", text="", after=35)]
    at_once = [said("accepted", after=1), said("edited", text="", after=5)]
    assert worth(said("shown", after=30), *edits) == worth(*at_once)
    # What was shown while it came is seen whole when it is complete; twice is once.
    assert worth(said("shown", after=-5), *edits) == worth(*edits)
    assert worth(said("shown", after=1), *edits, said("shown", after=34)) == worth(*edits)


def test_the_session_end_replaces_what_survived_before() -> None:
    ends = [said("accepted"), said("edited", text="", after=31), said("edited", text="answer")]
    assert worth(*ends) == pytest.approx(0.75)


def test_contradictory_signals_pull_against_one_another() -> None:
    both = worth(said("accepted"), said("thumbs", -1))
    assert both == pytest.approx((0.75 - 16) / 17)
    praise = worth(said("rejected"), said("comment", text="thanks, very helpful"))
    assert praise == pytest.approx((-0.25 + 4 * 0.25) / 5)


signals = st.lists(
    st.one_of(
        st.builds(said, st.sampled_from(["accepted", "rejected", "shown"])),
        st.builds(said, st.just("thumbs"), st.sampled_from([-1.0, 1.0])),
        st.builds(said, st.just("edited"), st.none(), st.text(max_size=8), st.floats(0, 100)),
        st.builds(said, st.just("comment"), st.none(), st.text(min_size=1, max_size=20)),
    ),
    max_size=6,
)


@given(st.text(max_size=10), signals)
def test_every_reward_lies_on_the_scale(output: str, feedback: list[Feedback]) -> None:
    found = reward(output, feedback, MAP, completed=SERVED)
    assert found is None or -1.0 <= found.value <= 1.0


@given(signals)
def test_only_the_last_of_a_kind_counts(feedback: list[Feedback]) -> None:
    ends = [said("accepted"), said("thumbs", 1.0), said("edited", text="answer")]
    words = said("comment", text="perfect")
    assert reward("answer", [*feedback, *ends, words], MAP) == reward("answer", [*ends, words], MAP)


def test_an_empty_answer_is_silence() -> None:
    assert reward("", [], MAP) == Reward(0.0, "silence")
    assert reward("", [said("accepted")], MAP) == Reward(0.0, "silence")
    assert reward("", [said("thumbs", -1)], MAP) == Reward(-1.0, "thumbs")


@given(st.text(max_size=30), st.text(max_size=30))
def test_survival_is_a_share(output: str, surviving: str) -> None:
    assert 0.0 <= survival(output, surviving) <= 1.0
    assert survival(output, output) == (1.0 if output else 0.0)


def test_a_reward_outside_the_scale_is_refused() -> None:
    with pytest.raises(ValueError, match=r"rewards\.accepted"):
        RewardMap(accepted=2.0)
