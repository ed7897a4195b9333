from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from liveweights.editor.context import (
    CHARACTERS,
    Other,
    cut_overlap,
    is_worth_asking,
    select,
)

LINES = "\n".join(f"value_{number} = compute(value_{number - 1})" for number in range(1, 400))
TEXT = st.text(st.sampled_from("ab_ \n"), max_size=300)


def test_what_stands_before_is_sent_whole_while_it_fits() -> None:
    context = select("a = 1\nb =", 9, tokens=64, infill=False)
    assert (context.before, context.after) == ("a = 1\nb =", "")


def test_a_long_prompt_begins_at_a_line_and_stays_there_while_the_cursor_moves() -> None:
    starts = set[str]()
    for offset in range(6000, 6190, 10):
        context = select(LINES, offset, tokens=128, infill=False)
        starts.add(context.before.split("\n")[0])
        assert LINES[:offset].endswith("\n" + context.before)
    assert len(starts) <= 2


def test_a_model_that_fills_in_is_told_what_stands_behind() -> None:
    context = select(LINES, 6000, tokens=128, infill=True)
    assert LINES[6000:].startswith(context.after)
    assert len(context.after) == 96


@given(TEXT, st.integers(0, 300), st.integers(64, 80), st.booleans(), st.lists(TEXT, max_size=3))
def test_the_budget_holds(
    text: str, offset: int, tokens: int, infill: bool, others: list[str]
) -> None:
    offset = min(offset, len(text))
    files = [Other(f"{number}.py", other) for number, other in enumerate(others)]
    context = select(text, offset, tokens=tokens, infill=infill, others=files)
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
    before = select(text, len(text), tokens=400, infill=False, language="python", others=others)
    assert before.before == f"# c.py\n{near}\n# a.py\n{nearer}\n{text}"


def test_where_it_is_worth_asking() -> None:
    assert is_worth_asking("area(\nx", 5, infill=False)
    assert is_worth_asking("area():\nx", 5, infill=False)
    assert not is_worth_asking("area(width)\nx", 5, infill=False)
    assert is_worth_asking("area(width)\nx", 5, infill=True)
    assert not is_worth_asking("\n\n", 1, infill=True)


def test_what_stands_there_already_is_not_shown() -> None:
    assert cut_overlap("width)", ")") == ("width", ")")
    assert cut_overlap("width)", "):  ") == ("width", ")")
    assert cut_overlap("width):", "):") == ("width", "):")
    assert cut_overlap("width", "") == ("width", "")
    assert cut_overlap("width", ")") == ("width", "")


@given(TEXT, TEXT)
def test_nothing_of_an_answer_is_lost_in_the_cut(answer: str, tail: str) -> None:
    shown, overlap = cut_overlap(answer, tail)
    assert shown + overlap == answer
    assert tail.startswith(overlap)
