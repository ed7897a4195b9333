from __future__ import annotations

import dataclasses
import io
import json
from typing import Any

import pytest

from liveweights.bom.spdx import write_spdx

from .bills import BASE, ONE, TWO, make_bill, make_window

pytest.importorskip("cyclonedx", reason="pip install 'liveweights[bom]'")
pytest.importorskip("spdx_python_model", reason="pip install 'liveweights[bom]'")

SUBJECTS = [BASE, ONE, TWO, "chat", ""]


def elements(subject: str) -> dict[str, dict[str, Any]]:
    graph = json.loads(write_spdx(make_bill(subject)))["@graph"]
    return {one.get("spdxId", one.get("@id")): one for one in graph}


def related(made: dict[str, dict[str, Any]], how: str, one: str) -> list[str]:
    return [
        to
        for each in made.values()
        if each["type"] == "Relationship" and (each["relationshipType"], each["from"]) == (how, one)
        for to in each["to"]
    ]


@pytest.mark.parametrize("subject", SUBJECTS)
def test_the_spdx_projects_own_reader_takes_it_and_finds_every_reference(subject: str) -> None:
    from spdx_python_model import v3_0_1 as spdx

    content = write_spdx(make_bill(subject))
    read = spdx.SHACLObjectSet()
    spdx.JSONLDDeserializer().read(io.BytesIO(content), read)
    assert not read.link()  # what is named and is not there
    assert len(list(read.foreach_type(spdx.SpdxDocument))) == 1
    kinds = {one.get_compact_type() for one in read.objects}
    assert {"ai_AIPackage", "software_Sbom"} <= kinds


def test_the_same_facts_make_the_same_bytes_in_whatever_order_they_come() -> None:
    bill = make_bill("chat")
    turned = dataclasses.replace(
        bill,
        models=dict(reversed(list(bill.models.items()))),
        packages=(bill.packages[0], *reversed(bill.packages[1:])),
    )
    assert write_spdx(bill) == write_spdx(turned)
    assert write_spdx(bill) != write_spdx(make_bill("chat", author="Bob"))


def test_it_tells_whose_from_what_and_by_which_feedback() -> None:
    made = elements(TWO)
    model, window = made[f"urn:liveweights:model:{TWO}"], make_window(2)
    assert model["suppliedBy"] == "urn:liveweights:author"
    (metric,) = model["ai_metric"]
    assert metric["value"] == "0.08 [0.01, 0.15]"
    assert "held-back reward is better" in model["comment"]
    assert related(made, "descendantOf", model["spdxId"]) == [f"urn:liveweights:model:{ONE}"]
    (data,) = related(made, "trainedOn", model["spdxId"])
    assert data in related(made, "testedOn", model["spdxId"])
    assert window.root in made[data]["comment"]
    assert made[data]["dataset_datasetSize"] == window.trained + window.held_back
    base = made[f"urn:liveweights:model:{BASE}"]
    assert made[base["suppliedBy"]]["name"] == "Alibaba (Qwen)"
    assert "country CN" in base["comment"]
    (licence,) = related(made, "hasDeclaredLicense", base["spdxId"])
    assert made[licence]["simplelicensing_licenseExpression"] == "Apache-2.0"
    files = related(made, "contains", base["spdxId"])
    assert {made[one]["name"] for one in files} == {
        "model.safetensors",
        "tokenizer.json",
        "config.json",
    }
    assert "g2-0" not in json.dumps(made)


def test_what_the_profiles_ask_for_is_there() -> None:
    for one in elements("").values():
        if one["type"] == "ai_AIPackage":
            assert {
                "suppliedBy",
                "releaseTime",
                "software_downloadLocation",
                "software_packageVersion",
                "software_primaryPurpose",
            } <= one.keys()
        if one["type"] == "dataset_DatasetPackage":
            assert {
                "originatedBy",
                "builtTime",
                "releaseTime",
                "dataset_datasetType",
                "software_downloadLocation",
                "software_primaryPurpose",
            } <= one.keys()
