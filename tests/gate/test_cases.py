from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.record.rows import make_feedback, make_generation

from liveweights.gate.calibration import is_right
from liveweights.gate.cases import EXPECTED_RIGHT, count_wanted, list_chats, make_cases
from liveweights.gate.settings import GateSettings
from liveweights.learn.rewards import RewardMap
from liveweights.record.example import Example
from liveweights.record.generation import Generation
from liveweights.record.split import split_key, split_of

REWARDS = RewardMap()


def example(generation: Generation, *corrections: str) -> Example:
    feedback = [
        make_feedback(f"f{i}", generation.id, signal="correction", text=text)
        for i, text in enumerate(corrections)
    ]
    return Example(generation, tuple(feedback))


def test_what_the_user_last_wrote_is_the_truth() -> None:
    known, unknown = make_generation("a", session="s1"), make_generation("b", session="s2")
    cases = make_cases([example(known, "one", "two"), example(unknown)], 0.9999, REWARDS)
    assert [(case.generation, case.session, case.truth) for case, _ in cases] == [
        ("a", "default/s1", "two"),
        ("b", "default/s2", None),
    ]


@pytest.mark.parametrize(
    ("signals", "taken"),
    [
        (("accepted",), True),
        (("accepted", "correction"), True),
        (("rejected",), False),
        (("rejected", "correction"), False),
        (("correction",), False),
        (("shown",), None),
    ],
)
def test_it_is_known_how_the_served_answer_fared(
    signals: tuple[str, ...], taken: bool | None
) -> None:
    said = [
        make_feedback(s, "a", signal=s, text="x" if s == "correction" else None) for s in signals
    ]
    ((case, _),) = make_cases([Example(make_generation("a"), tuple(said))], 0.9999, REWARDS)
    assert case.taken is taken


def test_what_was_taken_and_deleted_is_a_refused_answer() -> None:
    g = make_generation("a")
    said = (make_feedback("b", "a"), make_feedback("c", "a", signal="edited", text=""))
    ((case, _),) = make_cases([Example(g, said)], 0.9999, REWARDS)
    assert (case.truth, case.taken, case.rejected) == (None, False, "x = 1")
    assert is_right("x = 1", case) is False


@pytest.mark.parametrize(
    "other",
    [
        {"endpoint": "chat"},
        {"prompt_ids": []},
        {"prompt_ids": [], "prompt": '{"prompt": "a", "suffix": "b"}'},
        {"output_ids": [], "logprobs": [], "output": ""},
    ],
)
def test_only_completions_that_are_known_are_asked_again(other: dict[str, object]) -> None:
    assert not make_cases([example(make_generation("a", **other), "x")], 0.9999, REWARDS)


def test_chats_are_asked_again_for_how_they_are_answered_alone() -> None:
    chat = make_generation("a", endpoint="chat")
    unknown = make_generation("b", endpoint="chat", prompt_ids=[])
    liked = make_feedback("f", "a", signal="thumbs", value=1.0)
    others = [Example(chat, (liked,)), example(unknown), example(make_generation("c"), "x")]
    ((case, generation),) = list_chats(others, 0.9999)
    assert (generation.id, case.truth, case.taken) == ("a", None, None)
    assert list_chats(others, 1e-9) == []


def test_what_is_known_as_text_is_asked_again() -> None:
    text = {"prompt_ids": [], "output_ids": [], "logprobs": [], "prompt": '{"prompt": "x ="}'}
    ((case, generation),) = make_cases(
        [example(make_generation("a", **text), "y")], 0.9999, REWARDS
    )
    assert (case.truth, generation.output) == ("y", "x = 1")


@given(st.lists(st.integers(0, 30), max_size=40), st.floats(0.01, 0.99))
def test_a_session_that_is_learnt_from_now_judges_no_more(
    sessions: list[int], share: float
) -> None:
    examples = [
        example(make_generation(f"g{i}", session=f"s{number}"), "x")
        for i, number in enumerate(sessions)
    ]
    cases = make_cases(examples, share, REWARDS)
    names = [case.session for case, _ in cases]
    assert names == sorted(names)
    for one in examples:
        g = one.generation
        side = split_of(split_key(g.tenant, g.session, g.user, g.id), share)
        assert (g.id in {case.generation for case, _ in cases}) == (side == "held_back")


def test_of_an_episode_the_first_step_is_asked_again() -> None:
    steps = [
        Example(
            make_generation(id, session="s"),
            (make_feedback(f"o/{id}", id, signal="reward", value=1.0, episode="e"),),
        )
        for id in ("a", "b", "c")
    ]
    assert [case.generation for case, _ in make_cases(steps[::-1], 0.9999, REWARDS)] == ["a"]


@given(
    st.lists(st.booleans(), max_size=150), st.integers(0, 60), st.integers(0, 120), st.booleans()
)
def test_so_many_are_asked_that_enough_are_right(
    right: list[bool], cases: int, most: int, silence: bool
) -> None:
    settings = GateSettings(cases=cases, silence_cases=most)
    known = make_cases(
        [
            example(make_generation(f"g{n:03}", session="s"), "x = 1" if good else "y")
            for n, good in enumerate(right)
        ],
        0.9999,
        REWARDS,
    )
    wanted = count_wanted(known, settings, silence=silence)
    assert cases <= wanted <= max(cases, most)
    if not silence or not cases:
        assert wanted == cases
    elif wanted < most:
        assert sum(right[:wanted]) >= EXPECTED_RIGHT
        assert wanted == cases or sum(right[: wanted - 1]) < EXPECTED_RIGHT


def test_without_the_bound_that_needs_them_no_more_are_asked() -> None:
    settings = GateSettings(cases=7, keep_accepted=0.0)
    assert count_wanted([], settings, silence=True) == 7
