from __future__ import annotations

import psycopg
import pytest

from liveweights.learn.refusals import PATTERN, REACH, is_refusal

DECLINES = (
    "I'm sorry, but I can't help with that.",
    "I’m sorry. I cannot do that.",
    "I cannot assist with this request.",
    "i can not open it",
    "**Sorry**, I won't write this.",
    "Unfortunately, I am not able to read files.",
    "As an AI language model, I cannot give medical advice.",
    "I must decline.",
    "“I'm unable to find it.”",
    "My apologies, but I don't have access to your calendar.",
    "\n\nI simply will not.",
)
DOES_NOT = (
    "Sorry for the delay. Here is the list.",
    "I'm sorry to hear that. Take a rest.",
    "You can't do that with a tuple.",
    "Unfortunately, the file is empty.",
    "As an AI I was made to help. The answer is 4.",
    "In brief: I cannot say.",
    "Canada",
    "Ich kann das nicht.",
    "",
)
TEXTS = [*((text, True) for text in DECLINES), *((text, False) for text in DOES_NOT)]


@pytest.mark.parametrize(("text", "declines"), TEXTS)
def test_answers_decline_by_how_they_begin(text: str, declines: bool) -> None:
    assert is_refusal(text) is declines
    assert not is_refusal("x" * REACH + text)


def test_postgres_finds_the_same(database_dsn: str) -> None:
    with psycopg.connect(database_dsn) as conn:
        for text, declines in TEXTS:
            row = conn.execute("select left(%s, %s) ~* %s", (text, REACH, PATTERN)).fetchone()
            assert row == (declines,), text
