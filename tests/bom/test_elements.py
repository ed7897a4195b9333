from __future__ import annotations

import dataclasses

import pytest

from liveweights.bom.check import read_document
from liveweights.bom.document import Document, components_of, write_document
from liveweights.bom.elements import CLUSTERS, Element, check_elements
from liveweights.bom.facts import Bill, Service

from .bills import BASE, ONE, TWO, make_bill

pytest.importorskip("cyclonedx", reason="pip install 'liveweights[bom]'")


def document(bill: Bill) -> Document:
    return read_document(write_document(bill))


def lacking(bill: Bill, *, is_signed: bool = True) -> dict[str, Element]:
    elements = check_elements(document(bill), is_signed=is_signed)
    return {one.number: one for one in elements if not one.is_there}


def test_there_are_fifty_elements_in_seven_clusters() -> None:
    elements = check_elements(document(make_bill(TWO)), is_signed=True)
    assert len({one.number for one in elements}) == len(elements) == 50
    assert {one.cluster for one in elements} == set(CLUSTERS.values())


def test_what_a_full_bill_lacks_is_what_nobody_here_knows() -> None:
    missing = lacking(make_bill("chat"))
    assert set(missing) == {"MDL-11", "SP-04", "KPI-01"}
    assert missing["MDL-11"].lacking == (BASE,)  # how its maker trained it


def test_what_the_operator_has_not_said_is_named_with_the_setting() -> None:
    bill = dataclasses.replace(make_bill("chat"), service=Service(version="0.1.0"))
    missing = lacking(bill, is_signed=False)
    for number, key in (
        ("MD-01", "`author`"),
        ("SLP-03", "`author`"),
        ("SLP-09", "`application`"),
        ("INF-02", "`hardware`"),
        ("SP-02", "`compliance`"),
        ("SP-03", "`security_policy`"),
        ("MD-05", "[signing]"),
    ):
        assert key in missing[number].advice


def test_a_bare_base_has_no_data_that_is_known() -> None:
    bill = make_bill(BASE)
    bill = dataclasses.replace(bill, models={BASE: bill.models[BASE]}, aliases=(), hosted=())
    missing = lacking(bill)
    assert {f"DP-{n:02}" for n in range(1, 11)} <= set(missing)
    assert "KPI-02" in missing


@pytest.mark.parametrize(
    ("member", "number"),
    [("purl", "MDL-02"), ("licenses", "MDL-12"), ("version", "MDL-03"), ("manufacturer", "MDL-05")],
)
def test_what_one_model_lacks_is_named_with_it(member: str, number: str) -> None:
    made = document(make_bill("chat"))
    (one,) = (one for one in components_of(made) if one["bom-ref"] == ONE)
    del one[member]
    elements = {one.number: one for one in check_elements(made, is_signed=True)}
    assert elements[number].lacking == (ONE,)
