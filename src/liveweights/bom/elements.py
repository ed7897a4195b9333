"""Which of the G7's minimum elements of a bill of materials for AI a document has.

"Software Bill of Materials (SBOM) for Artificial Intelligence - Minimum Elements", G7 Cybersecurity
Working Group, published by BSI on 2026-05-12. Names and numbers of the elements as in the
vocabulary ``docs/req/g7ai/g7ai.ttl`` of openregtech/sbom. The elements are recommendations, and
that one is there does not say that it is right.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from liveweights.bom.document import Document, components_of, list_models

CLUSTERS = {
    "MD": "Metadata",
    "SLP": "System Level Properties",
    "MDL": "Models",
    "DP": "Dataset Properties",
    "INF": "Infrastructure",
    "SP": "Security Properties",
    "KPI": "Key Performance Indicators",
}
AUTHOR = "set `author` in [bom]"
NO_CARD = "give the model a card in HOME/catalogue"
NO_DATA = "no cycle has read feedback yet, and what its maker trained a base on is not known here"


@dataclass(frozen=True, slots=True)
class Element:
    """One element. ``lacking`` names whose it is missing of, empty where it is there; ``advice``
    says what to do then."""

    number: str
    name: str
    lacking: tuple[str, ...]
    advice: str

    @property
    def is_there(self) -> bool:
        return not self.lacking

    @property
    def cluster(self) -> str:
        return CLUSTERS[self.number.partition("-")[0]]


def check_elements(document: Document, *, is_signed: bool) -> tuple[Element, ...]:
    """All 50 elements in their order. ``is_signed``: there is a signature beside the document, and
    it holds."""
    return (
        *_metadata(document, is_signed),
        *_system(document),
        *_models(document),
        *_datasets(document),
        *_rest(document),
    )


def _metadata(document: Document, is_signed: bool) -> Iterable[Element]:
    metadata: Document = document.get("metadata", {})
    tools: Sequence[Document] = metadata.get("tools", {}).get("components", ())
    yield _one("MD-01", "SBOM author", bool(metadata.get("authors")), AUTHOR)
    yield _one("MD-02", "SBOM version", "version" in document)
    yield _one("MD-03", "SBOM data format name", "bomFormat" in document)
    yield _one("MD-04", "SBOM data format version", "specVersion" in document)
    yield _one(
        "MD-05",
        "SBOM author signature",
        is_signed or "signature" in document,
        "name a key in [signing] and write the bill with --to",
    )
    yield _one("MD-06", "SBOM tool name", any(tool.get("name") for tool in tools))
    yield _one("MD-07", "SBOM tool version", any(tool.get("version") for tool in tools))
    yield _one("MD-08", "SBOM generation context", bool(metadata.get("lifecycles")))
    yield _one("MD-09", "SBOM timestamp", "timestamp" in metadata)
    depends = any(one.get("dependsOn") for one in document.get("dependencies", ()))
    yield _one("MD-10", "SBOM dependency relationship", depends)


def _system(document: Document) -> Iterable[Element]:
    subject: Document = document.get("metadata", {}).get("component", {})
    produced = "manufacturer" in subject or "supplier" in subject
    yield _one("SLP-01", "System name", "name" in subject)
    parts = bool(document.get("components") or document.get("services"))
    yield _one("SLP-02", "System components", parts)
    yield _one("SLP-03", "System producer", produced, AUTHOR)
    yield _one("SLP-04", "System version", "version" in subject)
    for number, name, member, advice in (
        ("SLP-05", "System timestamp", "created-at", ""),
        ("SLP-06", "System data flow", "data-flow", ""),
        ("SLP-07", "System data usage", "data-usage", ""),
        ("SLP-08", "System input/output properties", "input-output", ""),
        ("SLP-09", "Intended application area", "application", "set `application` in [bom]"),
    ):
        yield _one(number, name, bool(_values(subject, member)), advice)


def _models(document: Document) -> Iterable[Element]:
    models = list_models(document)
    for number, name, test, advice in MODELS:
        yield _all("MDL-" + number, f"Model {name}", models, test, advice=advice)


def _datasets(document: Document) -> Iterable[Element]:
    datasets = [one for one in components_of(document) if one.get("type") == "data"]
    used = {
        one.get("ref")
        for model in list_models(document)
        for one in model.get("modelCard", {}).get("modelParameters", {}).get("datasets", ())
    }
    for number, name, test in DATASETS:
        yield _all("DP-" + number, f"Dataset {name}", datasets, test, advice=NO_DATA)
        if number == "08":
            yield _all(
                "DP-09",
                "Dataset dependency relationship",
                datasets,
                lambda one: one.get("bom-ref") in used,
                advice=NO_DATA,
            )


def _rest(document: Document) -> Iterable[Element]:
    subject: Document = document.get("metadata", {}).get("component", {})
    libraries = any(one.get("type") == "library" for one in components_of(document))
    contacts = [
        one
        for one in subject.get("externalReferences", ())
        if one["type"] in ("security-contact", "advisories")
    ]
    measured = any(
        one.get("modelCard", {}).get("quantitativeAnalysis") for one in list_models(document)
    )
    yield _one("INF-01", "Infrastructure software", libraries)
    hardware = bool(_values(subject, "hardware"))
    yield _one("INF-02", "Infrastructure hardware", hardware, "set `hardware` in [bom]")
    yield _one("SP-01", "Security controls", bool(_values(subject, "control")))
    compliance = bool(_values(subject, "compliance"))
    yield _one("SP-02", "Security compliance", compliance, "set `compliance` in [bom]")
    yield _one(
        "SP-03",
        "Cybersecurity policy information",
        bool(contacts),
        "set `security_policy` in [bom]",
    )
    yield _one(
        "SP-04",
        "Vulnerability referencing",
        "vulnerabilities" in document,
        "a scanner of your choice adds them: it reads the packages in this document",
    )
    yield _one(
        "KPI-01",
        "Security metrics",
        bool(_values(subject, "security-metric")),
        "the service measures none",
    )
    yield _one(
        "KPI-02", "Operational performance KPIs", measured, "no checkpoint of it has been gated yet"
    )


Test = Callable[[Document], object]


def _values(component: Document, name: str) -> list[str]:
    return [
        one["value"]
        for one in component.get("properties", ())
        if one["name"] == f"liveweights:{name}"
    ]


def _parameters(model: Document) -> Document:
    return model.get("modelCard", {}).get("modelParameters", {})


def _files(model: Document) -> Iterable[Document]:
    yield model
    yield from model.get("components", ())


def _data(dataset: Document) -> Document:
    return next(iter(dataset.get("data", ())), {})


def _content(dataset: Document, name: str) -> bool:
    properties = _data(dataset).get("contents", {}).get("properties", ())
    return any(one["name"] == name and one["value"] for one in properties)


MODELS: tuple[tuple[str, str, Test, str], ...] = (
    ("01", "name", lambda one: one.get("name"), ""),
    ("02", "identifier", lambda one: one.get("purl"), ""),
    ("03", "version", lambda one: one.get("version"), ""),
    ("04", "timestamp", lambda one: _values(one, "created-at"), ""),
    ("05", "producer", lambda one: one.get("manufacturer"), f"{NO_CARD}, or {AUTHOR}"),
    ("06", "description", lambda one: one.get("description"), ""),
    ("07", "hash value", lambda one: any(file.get("hashes") for file in _files(one)), ""),
    (
        "08",
        "hash algorithm",
        lambda one: any(digest["alg"] for file in _files(one) for digest in file.get("hashes", ())),
        "",
    ),
    ("09", "properties", lambda one: _parameters(one).get("modelArchitecture"), NO_CARD),
    (
        "10",
        "input/output properties",
        lambda one: _parameters(one).get("inputs") and _parameters(one).get("outputs"),
        "",
    ),
    (
        "11",
        "training properties",
        lambda one: _parameters(one).get("approach"),
        "how its maker trained a base is not known here",
    ),
    ("12", "license", lambda one: one.get("licenses"), NO_CARD),
    ("13", "external references", lambda one: one.get("externalReferences"), NO_CARD),
)
DATASETS: tuple[tuple[str, str, Test], ...] = (
    ("01", "name", lambda one: one.get("name")),
    ("02", "description", lambda one: one.get("description")),
    ("03", "content", lambda one: _data(one).get("type") and _content(one, "reactions")),
    ("04", "identifier", lambda one: one.get("bom-ref")),
    ("05", "hash", lambda one: _content(one, "merkle root")),
    ("06", "provenance", lambda one: _content(one, "provenance")),
    ("07", "statistical properties", lambda one: _content(one, "answers trained on")),
    ("08", "sensitivity", lambda one: _data(one).get("classification")),
    ("10", "license", lambda one: one.get("licenses")),
)


def _one(number: str, name: str, there: bool, advice: str = "") -> Element:
    return Element(number, name, () if there else ("the document",), advice)


def _all(
    number: str, name: str, components: Sequence[Document], test: Test, *, advice: str
) -> Element:
    """There where every component has it, and there is one at all."""
    lacking = [str(one.get("bom-ref") or one.get("name")) for one in components if not test(one)]
    if not components:
        lacking = ["the document"]
    return Element(number, name, tuple(lacking), advice)
