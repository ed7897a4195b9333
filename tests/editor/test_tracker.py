"""Every way in which a suggestion ends, as the editor's changes tell it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liveweights.editor import tracker
from liveweights.editor.text import Change, apply
from liveweights.editor.tracker import Step, Suggestion, Track, Verdict, offer, rest_of

BEFORE = "def area(width, height):\n    return"
SETTLE = 30.0


class Typist:
    """One document with one suggestion at its cursor, and what was told so far."""

    def __init__(
        self,
        suggested: str,
        *,
        before: str = BEFORE,
        behind: str = "\nx = 1\n",
        overlap: str = "",
        infill: bool = False,
    ) -> None:
        self.text = before + behind
        self.cursor = len(before)
        self.now = 0.0
        self.told: list[tuple[str, str | None]] = []
        suggestion = Suggestion(generation="gen_1", text=suggested, overlap=overlap, infill=infill)
        self.track: Track | None = offer(suggestion, self.cursor)

    def replace(self, start: int, end: int, put: str) -> Typist:
        """One change of the document; the cursor stands behind it."""
        before, self.text = self.text, self.text[:start] + put + self.text[end:]
        self.cursor = start + len(put)
        _, edit = apply(before, Change(self.text))
        return self.step(lambda t: tracker.edited(t, before, self.text, edit, self.now))

    def put(self, text: str) -> Typist:
        """At once, as an editor does."""
        return self.replace(self.cursor, self.cursor, text)

    def type(self, text: str) -> Typist:
        for letter in text:
            self.put(letter)
        return self

    def backspace(self, count: int = 1) -> Typist:
        for _ in range(count):
            self.replace(self.cursor - 1, self.cursor, "")
        return self

    def ask(self, offset: int | None = None) -> Typist:
        where = self.cursor if offset is None else offset
        return self.step(lambda t: tracker.asked(t, self.text, where, self.now))

    def save(self) -> Typist:
        return self.step(lambda t: tracker.saved(t, self.text))

    def wait(self, seconds: float) -> Typist:
        self.now += seconds
        return self.step(lambda t: tracker.ticked(t, self.text, self.now, SETTLE))

    def close(self) -> Typist:
        return self.step(lambda t: tracker.closed(t, self.text, self.now))

    def say(self, word: str) -> Typist:
        if word == "accepted":
            return self.step(lambda t: tracker.accepted(t, self.text, self.now))
        return self.step(tracker.dismissed)

    def step(self, act) -> Typist:  # type: ignore[no-untyped-def]
        if self.track is not None:
            step: Step = act(self.track)
            self.track = step.track
            self.told += [(one.signal, one.text) for one in step.verdicts]
            assert all(_is_where_it_says(one) for one in step.verdicts)
        return self


def _is_where_it_says(verdict: Verdict) -> bool:
    if verdict.text is None:
        return verdict.source is None
    assert verdict.source is not None
    document, start, end = verdict.source
    return verdict.text.removesuffix("\n") in document[start:end]


WHOLE = " width * height"


def test_taken_whole() -> None:
    assert Typist(WHOLE).put(WHOLE).told == [("accepted", None)]


def test_taken_whole_with_a_line_that_is_written_again() -> None:
    typist = Typist(WHOLE)
    line = len(BEFORE) - len("    return")
    typist.replace(line, len(BEFORE), "    return" + WHOLE)
    assert typist.told == [("accepted", None)]


def test_taken_whole_after_some_letters() -> None:
    typist = Typist(WHOLE).type(" wi")
    assert typist.track is not None
    assert rest_of(typist.track, typist.text, typist.cursor) == "dth * height"
    assert typist.put("dth * height").told == [("accepted", None)]


def test_taken_whole_in_place_of_the_letters_before() -> None:
    typist = Typist(WHOLE).type(" wi")
    assert typist.replace(len(BEFORE), typist.cursor, WHOLE).told == [("accepted", None)]


def test_the_editors_word_counts_where_the_change_says_little() -> None:
    assert Typist(")").put(")").told == []
    assert Typist(")").put(")").say("accepted").told == [("accepted", None)]
    assert Typist(WHOLE).put(WHOLE).say("accepted").told == [("accepted", None)]


def test_taken_word_by_word_to_the_end() -> None:
    typist = Typist(WHOLE).put(" width").put(" *").put(" height")
    assert typist.told == [("accepted", None)]


def test_taken_in_part_and_gone_on_differently() -> None:
    typist = Typist(WHOLE).put(" width").type(" + 1")
    assert typist.told == []
    assert typist.type("\n").told == [
        ("accepted", None),
        ("edited", " width"),
        ("correction", " width + 1\n"),
    ]
    assert typist.wait(SETTLE).told[3:] == [("edited", " width")]


def test_taken_in_part_and_left() -> None:
    typist = Typist(WHOLE).put(" width").ask(2)
    assert typist.told[:2] == [("accepted", None), ("edited", " width")]


def test_the_rest_of_what_was_taken_in_part_is_dismissed() -> None:
    typist = Typist(WHOLE).put(" width").say("dismissed").type("\n")
    assert typist.told == [
        ("accepted", None),
        ("edited", " width"),
        ("correction", " width\n"),
    ]


LINES = " [\n        width,\n        height,\n    ]"


def test_taken_line_by_line() -> None:
    typist = Typist(LINES).put(" [").put("\n        width,")
    assert typist.told == []
    assert typist.put("\n        height,").put("\n    ]").told == [("accepted", None)]


def test_taken_by_lines_in_part_and_gone_on_differently() -> None:
    typist = Typist(LINES).put(" [").put("\n        width,").put("\n        ").type("depth]\n")
    assert typist.told == [
        ("accepted", None),
        ("edited", " [\n        width,"),
        ("correction", " [\n        width,\n        depth]\n"),
    ]


def test_the_indentation_that_follows_enter_is_not_taken() -> None:
    typist = Typist(LINES).type(" [").put("\n        ").type("0]\n")
    assert typist.told == [("rejected", None), ("correction", " [\n        0]\n")]


def test_typed_as_suggested() -> None:
    typist = Typist(WHOLE).type(WHOLE)
    assert typist.told == []
    assert typist.put("\n    ").told == [("accepted", None)]


def test_typed_as_suggested_with_slips() -> None:
    typist = Typist(WHOLE).type(" widht").backspace(2).type("th * height\n")
    assert typist.told == [("accepted", None)]


def test_typed_as_suggested_and_then_on() -> None:
    typist = Typist(" width").type(" width * 2\n")
    assert typist.told == [("rejected", None), ("correction", " width * 2\n")]


def test_typed_on_differently_is_told_once_the_line_is_left() -> None:
    typist = Typist(WHOLE).type(" 4")
    assert typist.told == []
    assert typist.type("2").put("\n    ").told == [("rejected", None), ("correction", " 42\n")]
    assert typist.track is None


@pytest.mark.parametrize("how", ["ask", "edit below", "edit above", "close"])
def test_a_line_is_left_in_other_ways_too(how: str) -> None:
    typist = Typist(WHOLE).type(" 42")
    if how == "ask":
        typist.ask(3)
    elif how == "edit below":
        typist.replace(len(typist.text), len(typist.text), "y = 2\n")
    elif how == "edit above":
        typist.replace(0, 0, "# area\n")
    else:
        typist.close()
    assert typist.told == [("rejected", None), ("correction", " 42\n")]


def test_saving_says_nothing_of_a_line_that_is_being_written() -> None:
    assert Typist(WHOLE).type(" 4").save().told == []


def test_a_mended_word_before_it_leaves_no_line() -> None:
    typist = Typist(WHOLE).type(" 4")
    start = len(BEFORE) - len("return")
    typist.replace(start, start + 3, "y").cursor = len(BEFORE)
    assert typist.told == []
    assert typist.type("2\n").told == [("rejected", None), ("correction", " 42\n")]


def test_dismissed() -> None:
    assert Typist(WHOLE).say("dismissed").told == [("rejected", None)]


def test_dismissed_and_written_differently() -> None:
    typist = Typist(WHOLE).say("dismissed").type(" 42\n")
    assert typist.told == [("rejected", None), ("correction", " 42\n")]


def test_dismissed_and_nothing_written() -> None:
    assert Typist(WHOLE).say("dismissed").ask(3).told == [("rejected", None)]


def test_left_without_a_word() -> None:
    assert Typist(WHOLE).ask(3).told == [("rejected", None)]
    assert Typist(WHOLE).close().told == [("rejected", None)]
    assert Typist(WHOLE).put("\n").told == [("rejected", None)]


def test_asking_again_in_its_place_changes_nothing() -> None:
    typist = Typist(WHOLE).type(" w").ask().put("idth * height")
    assert typist.told == [("accepted", None)]


def test_what_stood_before_it_goes_and_nobody_knows_what_was_written_instead() -> None:
    assert Typist(WHOLE).backspace(2).told == [("rejected", None)]
    taken = Typist(WHOLE).put(" width")
    taken.replace(3, len(taken.text), "")
    assert taken.told == [("accepted", None), ("edited", " width")]


def test_silence_is_followed_for_what_is_written_instead() -> None:
    assert Typist("").type(" 42\n").told == [("correction", " 42\n")]
    assert Typist("").ask(3).told == []


def test_with_text_behind_the_cursor() -> None:
    typist = Typist("width", before="area(", behind=")\n", overlap=")")
    assert typist.put("width").told == [("accepted", None)]
    assert typist.wait(SETTLE).told[1:] == [("edited", "width)")]
    other = Typist("width", before="area(", behind=")\n", overlap=")").type("1").ask(99)
    assert other.told == [("rejected", None), ("correction", "1)\n")]


def test_a_model_that_knew_what_stands_behind_is_corrected_up_to_there() -> None:
    typist = Typist("width", before="area(", behind=")\n", infill=True).type("1").close()
    assert typist.told == [("rejected", None), ("correction", "1")]


def test_brackets_that_the_editor_closes() -> None:
    typist = Typist("(width, 2)", before="area").put("()")
    typist.cursor -= 1
    assert typist.track is not None
    assert rest_of(typist.track, typist.text, typist.cursor) == "width, 2"
    assert typist.put("width, 2").told == [("accepted", None)]


def test_brackets_that_the_editor_closes_and_something_else_in_them() -> None:
    typist = Typist("(width, 2)", before="area").put("()")
    typist.cursor -= 1
    typist.type("3")
    typist.cursor += 1
    assert typist.type("\n").told == [("rejected", None), ("correction", "(3)\n")]


class TestWhatSurvives:
    def taken(self) -> Typist:
        typist = Typist(WHOLE).put(WHOLE)
        typist.told.clear()
        return typist

    def test_all_of_it(self) -> None:
        assert self.taken().wait(SETTLE - 1).told == []
        assert self.taken().wait(SETTLE).told == [("edited", WHOLE)]

    def test_once_by_time(self) -> None:
        assert self.taken().wait(SETTLE).wait(SETTLE).told == [("edited", WHOLE)]

    def test_what_was_edited_meanwhile(self) -> None:
        typist = self.taken()
        typist.replace(len(BEFORE) + 1, len(BEFORE) + 6, "depth")
        assert typist.wait(SETTLE).told == [("edited", " depth * height")]

    def test_undone(self) -> None:
        typist = self.taken()
        typist.replace(len(BEFORE), len(BEFORE) + len(WHOLE), "")
        assert typist.save().told == [("edited", "")]

    def test_undone_and_made_again(self) -> None:
        typist = self.taken()
        place = len(BEFORE)
        for _ in range(3):
            typist.replace(place, place + len(WHOLE), "").replace(place, place, WHOLE)
        assert typist.wait(SETTLE).told == [("edited", WHOLE)]

    def test_undone_made_again_and_undone(self) -> None:
        typist = self.taken()
        place = len(BEFORE)
        typist.replace(place, place + len(WHOLE), "").replace(place, place, WHOLE)
        assert typist.replace(place, place + len(WHOLE), "").save().told == [("edited", "")]

    def test_cut_letter_by_letter_and_undone(self) -> None:
        typist = self.taken().backspace(len(" height")).replace(0, 0, "x")
        typist.replace(0, 1, "")
        typist.replace(len(BEFORE) + len(" width *"), len(BEFORE) + len(" width *"), " height")
        assert typist.wait(SETTLE).told == [("edited", WHOLE)]

    def test_what_is_written_in_place_of_it_is_not_of_it(self) -> None:
        typist = self.taken()
        typist.replace(len(BEFORE), len(BEFORE) + len(WHOLE), "").type(" 42")
        assert typist.wait(SETTLE).told == [("edited", "")]

    def test_what_is_written_around_it_is_not_of_it(self) -> None:
        typist = self.taken().put("\n\n\ny = 2").replace(0, 0, "import a\n")
        assert typist.wait(SETTLE).told == [("edited", WHOLE)]

    def test_at_a_save_and_again_when_settled(self) -> None:
        typist = self.taken().save().save().wait(SETTLE)
        assert typist.told == [("edited", WHOLE), ("edited", WHOLE)]

    def test_a_later_save_is_the_last_word_if_something_changed(self) -> None:
        typist = self.taken().wait(SETTLE)
        typist.replace(len(BEFORE) + 1, len(BEFORE) + 6, "depth")
        assert typist.save().told == [("edited", WHOLE), ("edited", " depth * height")]
        assert typist.track is None

    def test_a_cut_through_its_beginning_and_through_its_end(self) -> None:
        typist = self.taken()
        typist.replace(len(BEFORE) - 2, len(BEFORE) + 7, "")
        assert typist.save().told == [("edited", "* height")]
        typist = self.taken()
        typist.replace(len(BEFORE) + 8, len(BEFORE) + len(WHOLE) + 3, "")
        assert typist.save().told == [("edited", " width *")]

    def test_a_formatter_that_moves_it(self) -> None:
        typist = self.taken()
        typist.replace(4, len(typist.text), f"new:\n        return{WHOLE}\n")
        assert typist.save().told == [("edited", WHOLE)]

    def test_a_formatter_that_leaves_nothing_as_it_was(self) -> None:
        typist = self.taken()
        typist.replace(4, len(typist.text), "new(width*height)")
        assert typist.track is None


LETTERS = st.text(st.sampled_from("ab( )\n"), max_size=8)


@given(st.text(st.sampled_from("ab( )"), min_size=1, max_size=8), LETTERS, st.data())
def test_whatever_is_written_its_place_is_known(
    suggested: str, rest: str, data: st.DataObject
) -> None:
    """Marks around the suggestion's place, which no edit touches, still stand around it."""
    if not (suggested := suggested.rstrip()):
        return
    typist = Typist(suggested, before="<", behind=">")
    for _ in range(data.draw(st.integers(0, 8))):
        left, right = typist.text.index("<") + 1, typist.text.index(">")
        start = data.draw(st.integers(left, right))
        end = data.draw(st.integers(start, right))
        typist.replace(start, end, data.draw(LETTERS))
        if typist.track is None:
            return
        left, right = typist.text.index("<") + 1, typist.text.index(">")
        assert left <= typist.track.start <= typist.track.end <= right
        if typist.track.phase != "settling":
            assert (typist.track.start, typist.track.end) == (left, right)
            assert 0 <= typist.track.taken <= typist.track.matched <= len(suggested)


@given(st.data())
def test_whatever_is_undone_after_a_suggestion_was_taken_stands_as_before(
    data: st.DataObject,
) -> None:
    """As many changes as one likes, all undone, some made again and undone again."""
    typist = Typist("(ab)", before="a(", behind=")b\n").put("(ab)")
    typist.told.clear()
    texts = [typist.text]
    for _ in range(data.draw(st.integers(1, 6))):
        start = data.draw(st.integers(0, len(typist.text)))
        end = data.draw(st.integers(start, len(typist.text)))
        typist.replace(start, end, data.draw(LETTERS))
        texts.append(typist.text)
    again = data.draw(st.integers(0, len(texts) - 1))
    walk = [*reversed(texts[:-1]), *texts[1 : again + 1], *reversed(texts[:again])]
    for text in walk:
        typist.replace(0, len(typist.text), text)
    if typist.track is not None:  # else nobody knew any more what was left
        assert typist.save().told == [("edited", "(ab)")]


@given(st.text(st.sampled_from("ab( )"), min_size=1, max_size=12), st.data())
def test_what_is_taken_or_typed_to_the_end_in_any_pieces_is_accepted(
    suggested: str, data: st.DataObject
) -> None:
    if not (suggested := suggested.rstrip()):
        return
    typist, done = Typist(suggested), 0
    while done < len(suggested):
        size = data.draw(st.integers(1, len(suggested) - done))
        typist.put(suggested[done : done + size])
        done += size
    typist.put("\n")
    assert typist.told == [("accepted", None)]


@given(
    st.text(st.sampled_from("ab"), max_size=6),
    st.text(st.sampled_from("ab"), min_size=1, max_size=6),
)
def test_a_typed_line_is_judged_as_that_of_a_replayed_developer(suggested: str, line: str) -> None:
    typist = Typist(suggested).type(line + "\n")
    if suggested == line:
        assert typist.told == [("accepted", None)]
    else:
        clicked = [("rejected", None)] if suggested else []
        assert typist.told == [*clicked, ("correction", line + "\n")]


@given(LETTERS, LETTERS, st.data())
def test_every_end_says_at_most_one_click_of_each_kind(
    first: str, second: str, data: st.DataObject
) -> None:
    typist = Typist(WHOLE)
    for put in (first, second):
        start = data.draw(st.integers(0, len(typist.text)))
        end = data.draw(st.integers(start, len(typist.text)))
        typist.replace(start, end, put)
    typist.wait(SETTLE).save().close()
    signals = [signal for signal, _ in typist.told]
    assert signals.count("accepted") + signals.count("rejected") <= 1
    assert signals.count("correction") <= 1
