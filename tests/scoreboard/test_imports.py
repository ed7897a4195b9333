from __future__ import annotations

import json

import pytest

from liveweights.scoreboard.imports import conditions_for, parse_results
from liveweights.scoreboard.instances import parse_instances
from liveweights.scoreboard.results import ScoreboardError

ONE = "instance_ansible__ansible-a7d2a4e03209cff1e97e59fd54bb2b05fdbdbec6-v0f01c69f1e2528b9"
TWO = "django__django-11099"


@pytest.mark.parametrize(
    "text",
    [
        json.dumps({ONE: True, TWO: False}),
        json.dumps({ONE: {"resolved": True, "cost": 0.3}, TWO: {"resolved": False}}),
        json.dumps({"per_instance_details": {ONE: {"resolved": True}, TWO: {"resolved": False}}}),
        json.dumps({"resolved_ids": [ONE], "submitted_ids": [ONE, TWO], "total_instances": 2}),
        json.dumps([{"instance_id": ONE, "score": 1}, {"instance_id": TWO, "score": 0.0}]),
        f'{{"task_id": "{ONE}", "passed": true}}\n\n{{"task_id": "{TWO}", "passed": false}}\n',
    ],
)
def test_every_shape_gives_the_same_results(text: str) -> None:
    results = parse_results(text)
    assert [(one.case, one.score, one.group) for one in results] == [
        (TWO, 0.0, "django__django"),
        (ONE, 1.0, "ansible__ansible"),
    ]


@pytest.mark.parametrize(
    "text",
    [
        json.dumps({"resolved_ids": [ONE]}),
        json.dumps({"resolved": [ONE], "no_generation": [], "no_logs": [ONE]}),
        json.dumps({"resolved_ids": [ONE], "submitted_ids": [ONE]}),
        json.dumps({ONE: True}),
    ],
)
def test_what_has_no_result_failed_where_all_instances_are_given(text: str) -> None:
    results = parse_results(text, [ONE, TWO])
    assert [(one.case, one.score, one.group) for one in results] == [
        (TWO, 0.0, "django__django"),
        (ONE, 1.0, "ansible__ansible"),
    ]


@pytest.mark.parametrize(
    "report",
    [
        {"resolved_ids": [ONE]},
        {"resolved_ids": [ONE], "error_ids": [], "empty_patch_ids": [TWO], "total_instances": 2},
        {"resolved": [ONE], "no_generation": [TWO], "no_logs": []},
    ],
)
def test_what_names_only_the_resolved_is_not_taken_for_all(report: dict[str, object]) -> None:
    with pytest.raises(ScoreboardError, match=r"not all that was tried.*--instances FILE"):
        parse_results(json.dumps(report))


def test_instances_that_were_not_tried_are_not_left_out() -> None:
    report = json.dumps({"resolved_ids": [ONE], "submitted_ids": [ONE], "total_instances": 2})
    with pytest.raises(ScoreboardError, match=r"of 2 instances .* names 1 .*--instances FILE"):
        parse_results(report)
    assert [one.score for one in parse_results(report, [ONE, TWO])] == [0.0, 1.0]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (json.dumps({"resolved": [ONE]}), f"{ONE} is none of the 1 instances"),
        (json.dumps({"resolved_ids": [ONE, "b"]}), "and 1 more"),
        (json.dumps({ONE: False, TWO: True}), f"{ONE} is none of"),
    ],
)
def test_a_result_of_no_instance_is_refused(text: str, why: str) -> None:
    with pytest.raises(ScoreboardError, match=why):
        parse_results(text, [TWO])


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("nothing", "no JSON"),
        ("{}", "no results"),
        ('"text"', "neither an object nor a list"),
        ('{"a": 1.5}', "a: 1.5 is no outcome"),
        ('{"a": NaN}', "no JSON"),
        ('{"a": "yes"}', "a: 'yes' is no outcome"),
        ('[{"resolved": true}]', "result 1 has none of instance_id"),
        ("[3]", "result 1 is no object"),
        ('[{"id": "a", "score": 1}, {"id": "a", "score": 0}]', "a is there twice"),
        ('{"id": "a", "score": 1}\n{"id": "b", ', "line 2 is no JSON"),
    ],
)
def test_what_is_wrong_is_named(text: str, why: str) -> None:
    with pytest.raises(ScoreboardError, match=why):
        parse_results(text)


def test_other_instances_are_other_conditions() -> None:
    how = {"suite": "s", "version": "1", "harness": "h", "source": "them"}
    one = conditions_for(parse_results('{"a": true, "b": true}'), **how)
    same = conditions_for(parse_results('{"b": false, "a": true}'), **how)
    other = conditions_for(parse_results('{"a": true, "c": true}'), **how)
    assert one == same
    assert one != other
    assert one.cases == 2


@pytest.mark.parametrize("strange", ["\u2028", "\u2029", "\x85"])
def test_lines_end_where_json_lines_do(strange: str) -> None:
    """Strings may hold what other texts end lines with."""
    lines = [
        json.dumps({"id": f"a{strange}{n}", "resolved": n}, ensure_ascii=False) for n in (0, 1)
    ]
    for end in ("\n", "\r\n"):
        text = end.join(lines) + end
        assert [one.score for one in parse_results(text)] == [0, 1]
        assert parse_instances(text) == (f"a{strange}0", f"a{strange}1")
