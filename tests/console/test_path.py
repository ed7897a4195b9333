from __future__ import annotations

from dataclasses import replace

from liveweights.console.path import Facts, describe

MADE = Facts(
    alias="a model/x",
    checkpoint="m@1",
    answer="gen_1",
    words="one\n  two",
    cycle=7,
    outcome="rolled_back",
    learnt_from=3,
    judged_on=2,
    feedback=9,
    verdict="PASS",
    reasons=("better", "no drift"),
    action="promote",
    reason="seen enough",
    live="m@1",
    target="m@0",
)


def texts(facts: Facts) -> dict[str, str]:
    return {station.name: station.text for station in describe(facts)}


def test_each_station_says_what_it_was_and_where_it_is() -> None:
    addresses = {station.name: station.href for station in describe(MADE)}
    assert addresses == {
        "answer": "/answers/gen_1",
        "checkpoint": "/checkpoints/m%401",
        "cycle": "/cycles/7",
        "feedback": "/cycles/7#feedback",
        "verdict": "/cycles/7#verdict",
        "release": "/releases?model=a+model%2Fx",
        "rollback": "/releases?model=a+model%2Fx#go-back",
    }
    assert texts(MADE) == {
        "answer": "one two",
        "checkpoint": "m@1",
        "cycle": "cycle 7: rolled back",
        "feedback": "9 reactions: learnt from 3 answers, judged on 2 others",
        "verdict": "PASS: better; no drift",
        "release": "promote: seen enough",
        "rollback": "return to m@0",
    }


def test_an_answer_is_told_by_its_words_where_there_are_any() -> None:
    assert texts(replace(MADE, words=" \n"))["answer"] == "it said nothing"
    assert texts(replace(MADE, words=None))["answer"] == "gen_1"


def test_what_was_brought_has_no_cycle() -> None:
    base = Facts(alias="m", checkpoint="m@1", live="m@1")
    told = texts(base)
    assert told["answer"] == "it has not answered yet"
    assert told["cycle"].startswith("no cycle made it")
    assert (told["feedback"], told["verdict"]) == ("none", "none yet")
    assert told["rollback"] == "live; nothing to go back to"
    dead = [station.name for station in describe(base) if station.href is None]
    assert dead == ["answer", "cycle", "feedback", "verdict", "release"]


def test_the_way_back_is_from_what_is_live() -> None:
    assert texts(replace(MADE, live="m@2"))["rollback"] == "not live; m@2 is"
    canary = replace(MADE, live="m@2", canary="m@1")
    assert texts(canary)["rollback"] == "it is the canary; m@2 is live"
