"""What is said of a recognised checkpoint claims no more than was shown."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from tests.catalog.test_recognition import CARDS, WHOLE, evidence_of

from liveweights.catalog.catalogue import Catalogue
from liveweights.catalog.recognition import Evidence, recognise
from liveweights.catalog.similarity import Likeness
from liveweights.cli.card_page import align, recognition_lines

CELLS = st.text(max_size=8)


def test_one_family_or_all_of_them() -> None:
    one = next(card for card in WHOLE if card.name == "Kimi K2.5")
    page = list(recognition_lines(recognise(evidence_of(one), CARDS), {}))
    assert page[0].startswith("alike family Kimi K2, 1T parameters: its shape is theirs: kimi_k25")
    assert "unknown" in page[1]
    assert not any("licence" in line for line in page)
    several = next(card for card in WHOLE if card.name == "Qwen3.6-27B")
    page = list(recognition_lines(recognise(evidence_of(several), CARDS), {}))
    assert page[0].startswith("alike families Bonsai, Qwen3.5, Qwen3.6, Qwen3.8: ")


def test_files_of_a_card_are_it_with_its_licence() -> None:
    smol = Catalogue().find("SmolLM2-135M-Instruct")
    evidence = Evidence(
        weights=frozenset(smol.weights[:1]), shape=None, vocabulary=None, parameters=None
    )
    page = list(recognition_lines(recognise(evidence, CARDS), {}))
    assert page == [
        "it is family SmolLM2, 135M parameters: its files of weights are those of the card",
        f"  {smol.hub_id}  Hugging Face  licence Apache-2.0",
    ]


def test_likeness_is_told_with_its_bounds() -> None:
    found = recognise(
        Evidence(weights=frozenset(), shape=None, vocabulary=None, parameters=None), CARDS
    )
    against = {"a": Likeness((0.9, 0.8)), "b": Likeness((0.01,)), "c": Likeness(())}
    unknown, a, b, c = recognition_lines(found, against)
    assert unknown.startswith("unknown: ")
    assert "alike those of a (correlation 0.850)" in a
    assert "both from a third" in a
    assert "no likeness to those of b" in b
    assert "does not prove" in b
    assert "cannot be compared with those of c" in c


@given(st.lists(st.tuples(CELLS, CELLS, CELLS), min_size=1))
def test_columns_stand_below_one_another(rows: list[tuple[str, str, str]]) -> None:
    shown = list(align([("first", "second", "third"), *rows]))
    assert len(shown) == len(rows) + 1
    at = shown[0].index("second"), shown[0].index("third")
    for line in shown:
        assert all(line[place - 2 : place].strip() == "" for place in at)
        assert "\n" not in line
