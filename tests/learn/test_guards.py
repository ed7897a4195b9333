from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.learn.voters import make_voter

from liveweights.learn.guards import Vote, cap, outliers
from liveweights.learn.rows import Row


def row(user: str, weight: float) -> Row:
    return Row("policy", "g", "s", make_voter(user), [1], [2], weight, [0.0], 1.0)


def who(row: Row) -> str:
    return row.voter.user.removeprefix("t/")


weights = st.lists(
    st.tuples(st.sampled_from("abcde"), st.floats(-2, 2).filter(lambda w: abs(w) > 1e-3)),
    min_size=1,
    max_size=40,
)


@given(weights, st.floats(0.05, 1))
def test_nobody_holds_more_than_the_share_of_what_is_left(
    given_rows: list[tuple[str, float]], share: float
) -> None:
    rows = [row(user, weight) for user, weight in given_rows]
    capped = cap(rows, share, who)
    users = {user for user, _ in given_rows}
    most = max(share, 2 / len(users)) * sum(abs(r.weight) for r in capped)
    for user in users:
        assert sum(abs(r.weight) for r in capped if who(r) == user) <= most + 1e-6
    for before, after in zip(rows, capped, strict=True):
        assert abs(after.weight) <= abs(before.weight) + 1e-9
        assert after.weight * before.weight > 0


@given(st.integers(1, 5000))
def test_a_flood_has_its_share_and_no_more(size: int) -> None:
    quiet = [row(name, -1.0) for name in "abcdefghijklmnopqrs"]
    capped = cap([row("loud", 1.0)] * size + quiet, 0.1, who)
    assert [r.weight for r in capped if who(r) != "loud"] == [-1.0] * len(quiet)
    total = sum(abs(r.weight) for r in capped)
    assert sum(r.weight for r in capped if who(r) == "loud") <= 0.1 * total + 1e-6


def test_who_is_below_the_bound_keeps_everything() -> None:
    rows = [row("loud", 1.0)] * 16 + [row(name, -1.0) for name in "abcd"]
    capped = cap(rows, 0.1, who)
    assert [r.weight for r in capped if who(r) != "loud"] == [-1.0] * 4
    # Of five, two fifths: twice an equal part.
    assert sum(r.weight for r in capped if who(r) == "loud") == pytest.approx(0.4 / 0.6 * 4)


def test_shares_may_differ() -> None:
    rows = [row("loud", 1.0)] * 50 + [row(f"u{n % 40}", -1.0) for n in range(120)]
    for share in (0.1, 0.3):
        capped = cap(rows, lambda user, share=share: share if user == "loud" else 0.1, who)
        total = sum(abs(r.weight) for r in capped)
        held = sum(r.weight for r in capped if who(r) == "loud")
        assert held == pytest.approx(min(50, share * total), rel=1e-3)


def test_who_holds_nothing_is_no_holder() -> None:
    rows = [row("one", 1.0)] * 9 + [row("two", -0.5)] + [row(name, 0.0) for name in "abcdef"]
    assert cap(rows, 0.1, who) == rows


def test_of_two_users_none_is_capped() -> None:
    rows = [row("one", 1.0)] * 9 + [row("two", -0.5)]
    assert cap(rows, 0.1, who) == rows


def votes(
    inverted: set[str], users: int = 20, count: int = 30, seed: int = 0, easy: str = ""
) -> list[Vote]:
    """Users accept what the model is sure of with a chance that is their own; some vote the
    other way round, and one has ``easy`` work."""
    draw = random.Random(seed)
    found: list[Vote] = []
    for number in range(users):
        name, skill = f"u{number}", draw.uniform(0.15, 0.35)
        skill = 0.8 if name == easy else skill
        for _ in range(count):
            sureness = draw.random()
            good = draw.random() < min(1.0, 2 * skill * sureness)
            good = not good if name in inverted else good
            found.append(Vote(name, name, "code//python", 0.75 if good else -0.25, sureness))
    return found


def test_inverted_voters_stand_out() -> None:
    assert set(outliers(votes({"u3"}), 4.0)) == {"u3"}


@pytest.mark.parametrize("seed", range(5))
def test_honest_users_differ_and_are_kept(seed: int) -> None:
    assert outliers(votes(set(), seed=seed), 4.0) == {}


def test_few_votes_accuse_nobody() -> None:
    assert outliers(votes({"u3"}, count=10), 1.0) == {}


def test_easier_work_is_no_other_opinion() -> None:
    assert outliers(votes(set(), count=100, easy="u3"), 4.0) == {}


def test_a_flood_does_not_decide_what_is_usual() -> None:
    """Twenty times as many votes against everybody's: weighed by what they may move, they are the
    outlier."""
    honest = votes(set())
    against = votes({f"u{n}" for n in range(20)}, count=600, seed=1)
    share = len(honest) / len(against) / 4
    flood = [replace(vote, group="new", weight=share) for vote in against]
    assert set(outliers([*honest, *flood], 4.0)) == {"new"}


def test_who_has_half_of_the_weight_is_no_outlier() -> None:
    honest = [replace(vote, group="few") for vote in votes(set())]
    against = [vote for vote in votes({"u3", "u4"}, count=96) if vote.group in ("u3", "u4")]
    assert set(outliers([*honest, *against], 4.0)) == {"u3", "u4"}
