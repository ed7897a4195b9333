from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liveweights.editor.context import (
    CHARACTERS,
    Context,
    Other,
    cut_overlap,
    is_worth_asking,
    select,
)

LINES = "\n".join(f"value_{number} = compute(value_{number - 1})" for number in range(1, 400))
TEXT = st.text(st.sampled_from("ab_ \n"), max_size=300)
KEY = "-----BEGIN RSA PRIVATE KEY-----\n" + "MIIBwidthheight\n" * 40


def chosen(text: str, offset: int, **how: Any) -> Context:
    context = select(text, offset, **{"infill": False, **how})
    assert context is not None
    return context


def test_what_stands_before_is_sent_whole_while_it_fits() -> None:
    context = chosen("a = 1\nb =", 9, tokens=64)
    assert (context.before, context.after) == ("a = 1\nb =", "")


def test_a_long_prompt_begins_at_a_line_and_stays_there_while_the_cursor_moves() -> None:
    starts = set[str]()
    for offset in range(6000, 6190, 10):
        context = chosen(LINES, offset, tokens=128)
        starts.add(context.before.split("\n")[0])
        assert LINES[:offset].endswith("\n" + context.before)
    assert len(starts) <= 2


def test_a_model_that_fills_in_is_told_what_stands_behind() -> None:
    context = chosen(LINES, 6000, tokens=128, infill=True)
    assert LINES[6000:].startswith(context.after)
    assert len(context.after) == 96


@given(TEXT, st.integers(0, 300), st.integers(64, 80), st.booleans(), st.lists(TEXT, max_size=3))
def test_the_budget_holds(
    text: str, offset: int, tokens: int, infill: bool, others: list[str]
) -> None:
    offset = min(offset, len(text))
    files = [Other(f"{number}.py", other) for number, other in enumerate(others)]
    context = select(text, offset, tokens=tokens, infill=infill, others=files)
    if context is None:
        assert not text[:offset].endswith(tuple("ab_"))
        return
    assert len(context.before) + len(context.after) <= tokens * CHARACTERS
    assert text[:offset].endswith(context.before.rpartition("\n\n")[2])
    if not files:
        assert text[:offset].endswith(context.before)


def test_of_other_files_the_piece_that_has_most_in_common_stands_last() -> None:
    text = "def total_price(orders, discount):\n    return "
    near = "def total_weight(orders, discount):\n    return sum(orders)\n"
    nearer = "def total_price(orders, discount):\n    return sum(orders) - discount\n"
    far = "class Window:\n    handle = None\n"
    others = [Other("a.py", nearer), Other("b.py", far), Other("c.py", near)]
    before = chosen(text, len(text), tokens=400, language="python", others=others)
    assert before.before == f"# c.py\n{near}\n# a.py\n{nearer}\n{text}"


def test_a_line_with_a_secret_is_seen_whole_where_the_window_cuts_it() -> None:
    secret = 'password = "hunter2-and-more"\n'
    assert select("a = 1\n" + secret, 6 + 20, tokens=64, infill=True) is None
    text = "a = 1\n" + "b = 2\n" * 6 + secret
    assert chosen(text, 6, tokens=64, infill=True).after == "b = 2\n" * 6


def test_of_a_key_that_the_window_cuts_nothing_is_sent() -> None:
    text = f"{KEY}-----END RSA PRIVATE KEY-----\na = 1\n"
    assert chosen(text, len(text), tokens=100).before == "a = 1\n"
    assert select(KEY, len(KEY), tokens=100, infill=False) is None


def test_other_files_are_judged_as_what_they_are() -> None:
    text = "password = settings.password\nuser = settings.user\nprint("
    piece = "user: settings\npassword: Tr0ub4dor-and-3\nprint: user\n"
    for name, sent in (("config.yaml", False), ("config.py", True)):
        before = chosen(
            text, len(text), tokens=400, name="a.py", others=[Other(name, piece)]
        ).before
        assert ("Tr0ub4dor" in before) == sent


def test_no_piece_of_another_file_is_within_a_key() -> None:
    text = "width height MIIBwidthheight\n"
    before = chosen(text, len(text), tokens=400, others=[Other("notes.txt", KEY)]).before
    assert before == text


def test_where_it_is_worth_asking() -> None:
    assert is_worth_asking("area(\nx", 5, infill=False)
    assert is_worth_asking("area():\nx", 5, infill=False)
    assert not is_worth_asking("area(width)\nx", 5, infill=False)
    assert is_worth_asking("area(width)\nx", 5, infill=True)
    assert not is_worth_asking("\n\n", 1, infill=True)


@pytest.mark.parametrize("infill", [False, True])
@pytest.mark.parametrize(
    ("answer", "tail", "shown"),
    [
        ("width)", ")", "width"),
        ("width)", "):  ", "width"),
        ("width):", "):", "width"),
        ("width, height)", ", height)", "width"),
        ("len(x))", ")", "len(x)"),
        ('name"', '"', "name"),
        ("don't\")", '")', "don't"),
        ("width", "", "width"),
        ("width", ")", "width"),
    ],
)
def test_what_stands_there_already_is_not_shown(
    answer: str, tail: str, shown: str, infill: bool
) -> None:
    assert cut_overlap(answer, tail, infill=infill) == (shown, answer[len(shown) :])


@pytest.mark.parametrize(
    ("answer", "tail"),
    [
        ("len(x)", ")"),
        ("isValid(x)", ") {"),
        ('d["k"]', "]"),
        ('"a"', '"'),
        ("a, b", ", b)"),
        ("{}", "}"),
        ("a + b", " + b"),
    ],
)
def test_a_model_that_knows_the_tail_meant_what_it_wrote(answer: str, tail: str) -> None:
    assert cut_overlap(answer, tail, infill=True) == (answer, "")


@given(
    st.text(st.sampled_from("ab()[]\"', "), max_size=12),
    st.text(st.sampled_from("ab()[]\"', "), max_size=12),
    st.booleans(),
)
def test_nothing_of_an_answer_is_lost_in_the_cut(answer: str, tail: str, infill: bool) -> None:
    shown, overlap = cut_overlap(answer, tail, infill=infill)
    assert shown + overlap == answer
    assert tail.startswith(overlap)


@given(st.text(st.sampled_from("ab()[]"), max_size=12), st.text(st.sampled_from("ab()[]")))
def test_no_bracket_that_the_answer_opens_loses_its_end(answer: str, tail: str) -> None:
    shown, _ = cut_overlap(answer, tail, infill=True)
    for opens, closes in ("()", "[]"):
        left = answer.count(opens) - answer.count(closes)
        assert shown.count(opens) - shown.count(closes) <= max(0, left)
