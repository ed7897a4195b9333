from __future__ import annotations

from dataclasses import replace

import pytest
from tests.bom.bills import make_bill

from liveweights.bom import document
from liveweights.console import bills
from liveweights.console.bills import Recent

BILL = make_bill()


def test_the_same_facts_are_written_once(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []

    def write(bill: document.Bill) -> bytes:
        written.append(bill.subject)
        return document.write_document(bill)

    monkeypatch.setattr(bills, "write_document", write)
    recent = Recent(most=2)
    other, third = replace(BILL, subject="other"), replace(BILL, subject="third")
    first = recent.write(BILL)
    assert recent.write(replace(BILL)) == first
    assert written == [BILL.subject]
    changed = replace(BILL, service=replace(BILL.service, author="Somebody else"))
    assert recent.write(changed)[0] != first[0]
    assert recent.write(changed)[0] == document.write_document(changed)
    recent.write(other)
    recent.write(third)  # the first one goes
    recent.write(other)
    recent.write(changed)
    assert written == [BILL.subject] * 2 + ["other", "third", BILL.subject]
