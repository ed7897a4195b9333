from __future__ import annotations

import msgspec
import numpy as np
import pytest
from tests.scoreboard.examples import conditions, scored

from liveweights.scoreboard.pages import notes
from liveweights.scoreboard.table import make_tables

GOOD, BAD = [1.0] * 30, [0.0] * 30


def test_models_under_the_same_conditions_are_in_one_table() -> None:
    tables = make_tables(
        [
            *(scored("a", GOOD), scored("b", BAD)),
            *(scored("c", GOOD, version="2"), scored("d", GOOD, seed=1)),
            scored("e", GOOD, runner="liveweights 1"),
        ]
    )
    ranked = [
        [place.model for place in table.ranking.places] if table.ranking else [] for table in tables
    ]
    assert sorted(ranked) == [["a", "b"], ["c"], ["d"], ["e"]]


def test_it_is_said_where_seconds_are_of_different_hardware() -> None:
    here, there = scored("a", GOOD), scored("b", BAD)
    there = msgspec.structs.replace(there, run=msgspec.structs.replace(there.run, hardware="H200"))
    (table,) = make_tables([here, there, scored("c", BAD)])
    assert any("do not compare: a, c on a processor; b on H200." in one for one in notes(table))
    (table,) = make_tables([here, scored("c", BAD)])
    assert not any("hardware" in one for one in notes(table))


def test_what_is_not_whole_is_not_ranked() -> None:
    (table,) = make_tables([scored("a", GOOD), scored("b", BAD[:10], cases=30)])
    assert table.ranking is not None
    assert [place.model for place in table.ranking.places] == ["a"]
    assert [(one.model, one.attempts, one.planned) for one in table.open] == [("b", 10, 30)]


def test_who_looks_before_the_end_is_told_no_winner() -> None:
    """Two equal models, looked at after every fifth case: no look but the last claims anything, so
    that of 2,000 tables at most one in twenty is wrong, however often somebody looks."""
    rng = np.random.default_rng(11)
    wrong = 0
    for _ in range(2000):
        drawn = rng.integers(0, 2, (2, 30)).astype(float).tolist()
        for count in (10, 20, 30):
            columns = [
                scored(name, one[:count], cases=30) for name, one in zip("ab", drawn, strict=True)
            ]
            (table,) = make_tables(columns)
            if table.ranking and any(pair.apart for pair in table.ranking.pairs):
                wrong += 1
                break
    assert wrong / 2000 <= 0.05 + 4 * (0.05 * 0.95 / 2000) ** 0.5


def test_a_checkpoint_that_was_scored_last_stands_for_its_model() -> None:
    old = scored("a", BAD, number=1, checkpoint="a@1")
    new = scored("a", GOOD, number=2, checkpoint="a@2")
    (table,) = make_tables([new, old])
    assert table.ranking is not None
    assert [place.score for place in table.ranking.places] == [1.0]
    assert [cost.checkpoint for cost in table.costs] == ["a@2"]


def test_a_model_that_refused_every_case_is_not_ranked() -> None:
    refused = scored("b", BAD, number=2, detail="refused: no tools")
    some = scored("c", BAD, number=3)
    one = some.results["c0", 0]
    some = msgspec.structs.replace(
        some,
        results={**some.results, ("c0", 0): msgspec.structs.replace(one, detail="refused: long")},
    )
    for order in ([scored("a", GOOD), refused, some], [some, refused, scored("a", GOOD)]):
        (table,) = make_tables(order)
        assert table.ranking is not None
        assert [place.model for place in table.ranking.places] == ["a", "c"]
        assert {cost.model for cost in table.costs} == {"a", "c"}
        assert [(one.model, one.run, one.refusal) for one in table.open] == [
            ("b", 2, "refused: no tools")
        ]
    said = notes(table)
    assert any("b is not ranked: every case was refused: no tools" in one for one in said)
    assert any("scoreboard remove 2" in one for one in said)


def test_a_checkpoint_that_is_live_again_stands_for_its_model() -> None:
    runs = [
        scored("a", GOOD, number=1, checkpoint="a@1"),
        scored("a", BAD, number=2, checkpoint="a@2"),
    ]
    for live, score, checkpoint in (("a@1", 1.0, "a@1"), ("a@2", 0.0, "a@2"), ("a@3", 0.0, "a@2")):
        for order in (runs, runs[::-1]):
            (table,) = make_tables(order, live={"a": live, "z": "z@1"})
            assert table.ranking is not None
            assert [place.score for place in table.ranking.places] == [score]
            assert [cost.checkpoint for cost in table.costs] == [checkpoint]
            said = [one for one in notes(table) if "answers with" in one]
            assert [one.live for one in table.former] == ([] if live == checkpoint else [live])
            assert len(said) == len(table.former)


def test_costs_are_of_a_task_and_of_a_solved_one() -> None:
    (table,) = make_tables([scored("a", [1.0, 0.0, 0.0, 1.0], nanos=500, seconds_each=2.0)])
    (cost,) = table.costs
    assert (cost.tokens, cost.seconds) == (12.0, 2.0)
    assert (cost.nanos_per_task, cost.nanos_per_solved) == (500.0, 1000.0)
    (nothing,) = make_tables([scored("a", [0.0], nanos=500)])
    assert nothing.costs[0].nanos_per_solved is None
    (unknown,) = make_tables([scored("a", [1.0])])
    assert unknown.costs[0].nanos_per_task is None


def test_the_same_model_twice_shows_the_noise() -> None:
    again = scored("a", [1.0, 1.0, 0.0, 0.0], repeat=1, number=2)
    (table,) = make_tables([scored("a", [1.0, 0.0, 0.0, 0.0]), again])
    (noise,) = table.noise
    assert (noise.difference.mean, noise.changed) == (0.25, 0.25)
    assert table.conditions == conditions()
    assert table.ranking is not None
    assert [place.score for place in table.ranking.places] == [pytest.approx(0.25)]


def test_only_the_models_that_are_asked_for() -> None:
    assert make_tables([scored("a", GOOD)], ["b"]) == []
    (table,) = make_tables([scored("a", GOOD), scored("b", BAD)], ["b"])
    assert [cost.model for cost in table.costs] == ["b"]
    assert msgspec.json.decode(msgspec.json.encode(table))["ranking"]["places"][0]["model"] == "b"
