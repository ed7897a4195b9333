from __future__ import annotations

from liveweights.editor.documents import Document
from liveweights.editor.text import Change, Place
from liveweights.editor.tracker import Suggestion, Verdict


def test_changes_that_come_together_are_all_made_and_followed_one_by_one() -> None:
    document = Document("file:///a.py", "python", "a =")
    document.show(Suggestion(generation="g", text=" 1"), 3, 0.0)
    ends = Change(" 2", Place(0, 3), Place(0, 3)), Change("\n", Place(0, 5), Place(0, 5))
    told = document.change(ends, "utf-16", 1.0)
    assert document.text == "a = 2\n"
    assert told == [Verdict("g", "rejected"), Verdict("g", "correction", " 2\n")]
