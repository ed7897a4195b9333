from __future__ import annotations

import json

import pytest

from liveweights.scoreboard.instances import parse_instances
from liveweights.scoreboard.results import ScoreboardError

ONE, TWO = "django__django-11099", "7"


@pytest.mark.parametrize(
    "text",
    [
        f"{ONE}\n\n {TWO} \n{ONE}\n",
        f'"{ONE}"\n"{TWO}"',
        json.dumps([ONE, TWO]),
        json.dumps([{"instance_id": ONE, "repo": "django/django"}, {"id": int(TWO)}]),
        json.dumps({ONE: True, TWO: {"resolved": False}}),
        f'{{"instance_id": "{ONE}"}}\n{{"instance_id": "{TWO}"}}\n',
    ],
)
def test_ids_are_read_from_whatever_holds_them(text: str) -> None:
    assert parse_instances(text) == (ONE, TWO)


def test_one_id_alone_is_a_list_too() -> None:
    assert parse_instances(ONE) == (ONE,)
    assert parse_instances(TWO) == (TWO,)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("\n", "no ids"),
        ("[]", "no ids"),
        ('[{"repo": "a"}]', "instance 1 has no id"),
        ("[[1]]", "instance 1 has no id"),
        ('{"id": "a"}\n{"id": ', "is neither an id nor JSON"),
    ],
)
def test_what_is_wrong_is_named(text: str, why: str) -> None:
    with pytest.raises(ScoreboardError, match=why):
        parse_instances(text)
