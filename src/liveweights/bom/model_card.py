"""The parts of a CycloneDX document that its library does not write: model cards and data.

Dictionaries of the schema's ``modelCard`` and ``componentData`` (CycloneDX 1.7, ECMA-424).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from liveweights.bom.facts import Metric, Model, Window

TASK = "text-generation"
CONSENT = "only answers whose tenant and request allow training (consent) are ever read by a cycle"
PROVENANCE = "reactions of this service's users to answers of its models, recorded as they came"
CONTENT = "what users asked, what they were answered, and how they reacted"


def dataset_of(window: Window) -> str:
    """What the data of a window is referred to by."""
    return f"feedback:cycle-{window.cycle}"


def make_model_card(model: Model, base: Model, application: str) -> dict[str, Any]:
    """What is known of a checkpoint that stands on ``base``; what is not is left out."""
    parameters: dict[str, Any] = {"task": TASK}
    if model.window is not None:
        parameters["approach"] = {"type": "reinforcement-learning"}
        parameters["datasets"] = [{"ref": dataset_of(model.window)}]
    card = base.origin.card if base.origin else None
    if card and card.architecture:
        parameters["architectureFamily"] = card.architecture.model_type
    architecture = base.card.get("architecture") or (
        card and card.architecture and card.architecture.cls
    )
    if architecture:
        parameters["modelArchitecture"] = architecture
    given = card.modalities if card and card.modalities else ("text",)
    parameters["inputs"] = [{"format": one} for one in given]
    parameters["outputs"] = [{"format": "text"}]
    made: dict[str, Any] = {"modelParameters": parameters}
    if model.metrics:
        made["quantitativeAnalysis"] = {"performanceMetrics": _metrics(model.metrics)}
    if application:
        made["considerations"] = {"useCases": [application]}
    return made


def make_data(window: Window, owner: str) -> dict[str, Any]:
    """The feedback that a cycle read, as counts and a root over what names each reaction."""
    contents = [
        ("began", window.began.isoformat()),
        ("answers trained on", window.trained),
        ("answers held back", window.held_back),
        ("reactions", window.reactions),
        *(
            (f"trained on by signal {name}", window.signals[name])
            for name in sorted(window.signals)
        ),
        ("consent", CONSENT),
        ("provenance", PROVENANCE),
        ("merkle root", window.root),
        ("merkle tree", "RFC 9162, SHA-256; leaves: reaction_leaf(tenant, answer, feedback)"),
    ]
    data: dict[str, Any] = {
        "type": "dataset",
        "name": f"feedback to {window.alias} that cycle {window.cycle} read",
        "description": CONTENT,
        "classification": "confidential",
        "sensitiveData": ["what users write may be personal"],
        "contents": {
            "properties": [{"name": name, "value": str(value)} for name, value in contents]
        },
    }
    if owner:
        data["governance"] = {"owners": [{"organization": {"name": owner}}]}
    return data


def number(value: float) -> str:
    """To six digits."""
    return f"{value:.6g}"


def _metrics(metrics: Sequence[Metric]) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = []
    for one in metrics:
        metric: dict[str, Any] = {
            "type": one.name,
            "value": number(one.value),
            "slice": one.where,
        }
        if one.low is not None and one.high is not None:
            metric["confidenceInterval"] = {
                "lowerBound": number(one.low),
                "upperBound": number(one.high),
            }
        made.append(metric)
    return made
