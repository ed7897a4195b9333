from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from typing import Any

import pytest

from liveweights.bom.check import compare, find_fault, read_document
from liveweights.bom.document import components_of, list_models, subject_of, write_document

from .bills import BASE, ONE, TWO, make_bill, make_window

pytest.importorskip("cyclonedx", reason="pip install 'liveweights[bom]'")


def document(subject: str = TWO) -> dict[str, Any]:
    return read_document(write_document(make_bill(subject)))


def component(document: dict[str, Any], reference: str) -> dict[str, Any]:
    (one,) = (one for one in components_of(document) if one["bom-ref"] == reference)
    return one


@pytest.mark.parametrize("subject", [BASE, ONE, TWO, "chat", "big", ""])
def test_it_keeps_to_the_official_schema(subject: str) -> None:
    content = write_document(make_bill(subject))
    assert find_fault(content) is None
    assert subject_of(read_document(content)) == subject


def test_what_the_schema_does_not_know_is_a_fault() -> None:
    made = document()
    component(made, TWO)["modelCard"]["modelParameters"]["approach"] = {"type": "magic"}
    assert "magic" in (find_fault(json.dumps(made).encode()) or "")


def test_the_same_facts_make_the_same_bytes_in_whatever_order_they_come() -> None:
    bill = make_bill("chat")
    turned = dataclasses.replace(
        bill,
        models={
            id: dataclasses.replace(model, files=dict(reversed(list(model.files.items()))))
            for id, model in reversed(list(bill.models.items()))
        },
        packages=(bill.packages[0], *reversed(bill.packages[1:])),
    )
    assert write_document(bill) == write_document(turned)


def test_the_same_facts_make_the_same_bytes_in_another_process() -> None:
    program = (
        "import sys; from tests.bom.bills import make_bill;"
        "from liveweights.bom.document import write_document;"
        "sys.stdout.buffer.write(write_document(make_bill('chat')))"
    )
    made = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        check=True,
        env={"PYTHONPATH": ":".join(sys.path), "PYTHONHASHSEED": "7"},
    )
    assert made.stdout == write_document(make_bill("chat"))


def test_another_fact_makes_another_serial_number() -> None:
    one = read_document(write_document(make_bill("chat")))
    other = read_document(write_document(make_bill("chat", author="Bob")))
    assert one["serialNumber"] != other["serialNumber"]


def test_it_tells_the_whole_pedigree() -> None:
    made = component(document(), TWO)
    for young, old in ((TWO, ONE), (ONE, BASE)):
        pedigree = component(document(), young)["pedigree"]
        assert pedigree["notes"] == f"{young} from {old}"
        (ancestor,) = pedigree["ancestors"]
        assert ancestor["version"] == old.rpartition("@")[2]
    assert [one["id"] for one in (lic["license"] for lic in made["licenses"])] == ["Apache-2.0"]
    assert {one["bom-ref"] for one in list_models(document())} == {BASE, ONE, TWO}


def test_it_names_every_file_with_its_hash_and_the_base_with_its_maker() -> None:
    base = component(document(), BASE)
    files = {one["name"]: one["hashes"][0]["content"] for one in base["components"]}
    assert files == {
        "model.safetensors": "a" * 64,
        "tokenizer.json": "b" * 64,
        "config.json": "c" * 64,
    }
    assert base["hashes"] == [{"alg": "SHA-256", "content": "a" * 64}]
    assert base["purl"] == "pkg:huggingface/Qwen/Qwen3-8B@" + "d" * 40
    assert base["manufacturer"] == {"name": "Alibaba (Qwen)", "address": {"country": "CN"}}
    duties = [one for one in base["properties"] if one["name"].startswith("liveweights:duty:")]
    assert duties


def test_what_a_base_was_derived_from_has_its_licence() -> None:
    base = component(document(), BASE)
    (ancestor,) = base["pedigree"]["ancestors"]
    assert ancestor["licenses"] == [{"license": {"id": "Apache-2.0"}}]
    told = [one["value"] for one in base["properties"] if one["name"] == "liveweights:derived-from"]
    assert told == ["Qwen/Qwen3-8B-Base, licence Apache-2.0"]


def test_it_tells_what_each_cycle_read_without_saying_what_it_was() -> None:
    made = document()
    window = make_window(2)
    data = component(made, "feedback:cycle-2")
    (content,) = data["data"]
    told = {one["name"]: one["value"] for one in content["contents"]["properties"]}
    assert told["answers trained on"] == "4"
    assert told["reactions"] == "5"
    assert told["trained on by signal accepted"] == "3"
    assert told["merkle root"] == window.root
    assert content["classification"] == "confidential"
    card = component(made, TWO)["modelCard"]
    assert card["modelParameters"]["datasets"] == [{"ref": "feedback:cycle-2"}]
    assert "g2-0" not in json.dumps(made)
    assert "f2-0" not in json.dumps(made)


def test_verdicts_are_performance_metrics_with_intervals() -> None:
    card = component(document(), TWO)["modelCard"]
    (metric,) = card["quantitativeAnalysis"]["performanceMetrics"]
    assert metric["value"] == "0.08"
    assert metric["confidenceInterval"] == {"lowerBound": "0.01", "upperBound": "0.15"}


def test_what_depends_on_what() -> None:
    needs = {one["ref"]: set(one.get("dependsOn", ())) for one in document("")["dependencies"]}
    assert needs["service"] == {ONE, TWO, "hosted:big", "pypi:liveweights"}
    assert needs[TWO] == {ONE, BASE, "feedback:cycle-2"}
    assert needs["pypi:liveweights"] == {"pypi:msgspec"}


def test_a_hosted_model_is_a_service_beyond_the_boundary() -> None:
    (hosted,) = document("")["services"]
    assert hosted["x-trust-boundary"] is True
    assert hosted["endpoints"] == ["https://upstream.example/v1"]
    told = {one["name"]: one["value"] for one in hosted["properties"]}
    assert told["liveweights:country"] == "CN"


def leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    if isinstance(value, dict):
        return [one for name, inner in value.items() for one in leaves(inner, (*path, name))]
    if isinstance(value, list):
        return [one for n, inner in enumerate(value) for one in leaves(inner, (*path, n))]
    return [path]


def test_every_field_that_was_changed_is_named() -> None:
    made = document("chat")
    places = leaves(made)
    assert len(places) > 200
    for place in places:
        given = json.loads(json.dumps(made))
        inner = given
        for step in place[:-1]:
            inner = inner[step]
        inner[place[-1]] = "changed"
        (difference,) = compare(given, made)
        assert "'changed'" in difference
        named = difference.partition(" is ")[0]
        assert str(place[0]) in named
        assert (f"[{place[-1]}]" if isinstance(place[-1], int) else place[-1]) in named


def test_what_was_added_or_taken_is_named() -> None:
    made = document()
    given = json.loads(json.dumps(made))
    given["extra"] = 1
    del given["version"]
    given["components"].pop()
    differences = list(compare(given, made))
    assert any(one.startswith("extra is 1") for one in differences)
    assert any(one.startswith("version is missing") for one in differences)
    assert any(one.startswith("components has") for one in differences)
