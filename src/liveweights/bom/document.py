"""A bill of materials as a CycloneDX 1.7 document: the same facts make the same bytes.

Written by ``cyclonedx-python-lib``. What that has no classes for, model cards and what data holds
(issues 912 and 913 of CycloneDX/cyclonedx-python-lib), is added to its JSON.
"""

# The extra that this needs may not be installed where types are checked.
# pyright: reportMissingImports=false
from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from liveweights.bom.facts import Bill
from liveweights.bom.model_card import dataset_of, make_data, make_model_card

if TYPE_CHECKING:
    from cyclonedx.model import Property

SERVICE = "liveweights service"
WHOLE, ALIAS = "service", "alias:"
"""What the service and an alias are referred to by."""
Document = dict[str, Any]


class BomUnavailable(RuntimeError):
    """What writes and checks bills of materials is not installed."""


def write_document(bill: Bill) -> bytes:
    """The bill in canonical JSON: sorted keys, ASCII, one line end at the end.

    Its time is that of its newest fact, and its serial number is made of its content. Raises
    BomUnavailable.
    """
    document = _splice(_write(bill), bill)
    document.pop("serialNumber", None)
    name = uuid.uuid5(uuid.NAMESPACE_URL, encode(document).decode())
    document["serialNumber"] = f"urn:uuid:{name}"
    return encode(document)


def encode(document: Document) -> bytes:
    """In ASCII: what others named shows in a terminal as it is written."""
    return (json.dumps(document, indent=2, sort_keys=True) + "\n").encode()


def subject_of(document: Document) -> str:
    """What ``Bill.subject`` was: a checkpoint's id, an alias, or empty for the service."""
    reference = str(document.get("metadata", {}).get("component", {}).get("bom-ref", ""))
    return "" if reference == WHOLE else reference.removeprefix(ALIAS)


def list_models(document: Document) -> list[Document]:
    """Every model of a document, the one that it is about first; no short ancestors."""
    return [one for one in components_of(document) if one.get("type") == "machine-learning-model"]


def components_of(document: Document) -> Iterator[Document]:
    """The component that a document is about, then its components; not those within them."""
    subject = document.get("metadata", {}).get("component")
    if subject is not None:
        yield subject
    yield from document.get("components", ())


def _write(bill: Bill) -> Document:
    """What the library writes."""
    try:
        from cyclonedx.model import ExternalReference, ExternalReferenceType, XsUri
        from cyclonedx.model.bom import Bom, BomMetaData
        from cyclonedx.model.component import Component, ComponentType
        from cyclonedx.model.contact import OrganizationalContact, OrganizationalEntity
        from cyclonedx.model.lifecycle import LifecyclePhase, PredefinedLifecycle
        from cyclonedx.model.tool import ToolRepository
        from cyclonedx.output import make_outputter
        from cyclonedx.schema import OutputFormat, SchemaVersion

        from liveweights.bom import components
    except ImportError as error:
        raise BomUnavailable(
            "bills of materials need the extra: pip install 'liveweights[bom]'"
        ) from error

    service = bill.service
    models = {
        id: components.make_model(model, bill.chain(id), service.author)
        for id, model in bill.models.items()
    }
    windows = {model.window.cycle: model.window for model in bill.models.values() if model.window}
    datasets = {cycle: components.make_dataset(window) for cycle, window in windows.items()}
    packages = {one.name: components.make_package(one) for one in bill.packages}
    hosted = {one.alias: components.make_hosted(one) for one in bill.hosted}

    subject = models.get(bill.subject)
    if subject is None:
        live = next((one.live for one in bill.aliases if one.name == bill.subject), None)
        subject = Component(
            type=ComponentType.APPLICATION,
            name=bill.subject or SERVICE,
            version=live or service.version,
            bom_ref=f"{ALIAS}{bill.subject}" if bill.subject else WHOLE,
            description=service.application or None,
            manufacturer=OrganizationalEntity(name=service.author) if service.author else None,
            properties=[_stamp(bill)],
        )
    for one in _about(bill):
        subject.properties.add(one)
    if service.security_policy:
        policy = ExternalReference(
            type=ExternalReferenceType.SECURITY_CONTACT, url=XsUri(service.security_policy)
        )
        subject.external_references.add(policy)
    tool = Component(type=ComponentType.APPLICATION, name="liveweights", version=service.version)
    bom = Bom(
        metadata=BomMetaData(
            timestamp=bill.as_of,
            component=subject,
            tools=ToolRepository(components=[tool]),
            lifecycles=[PredefinedLifecycle(phase=LifecyclePhase.OPERATIONS)],
            authors=[OrganizationalContact(name=service.author)] if service.author else None,
        ),
        components=[
            *(one for one in models.values() if one is not subject),
            *datasets.values(),
            *packages.values(),
        ],
        services=hosted.values(),
    )
    if bill.subject not in models:
        answering = [
            models[id] for alias in bill.aliases for id in (alias.live, alias.canary) if id
        ]
        bom.register_dependency(subject, [*answering, *hosted.values()])
    for id, model in bill.models.items():
        needed = [models[one] for one in sorted({model.base or "", model.parent or ""}) if one]
        if model.window is not None:
            needed.append(datasets[model.window.cycle])
        bom.register_dependency(models[id], needed)
    if bill.packages:
        bom.register_dependency(subject, [packages[bill.packages[0].name]])
    for one in bill.packages:
        needed = [packages[name] for name in one.requires if name in packages]
        bom.register_dependency(packages[one.name], needed)
    return json.loads(make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_7).output_as_string())


def _stamp(bill: Bill) -> Property:
    from cyclonedx.model import Property

    return Property(name="liveweights:created-at", value=bill.as_of.isoformat())


def _about(bill: Bill) -> Iterator[Property]:
    """What is said of the service, as properties of what the bill is about."""
    from cyclonedx.model import Property

    service = bill.service
    facts = [
        ("application", service.application),
        ("hardware", service.hardware),
        ("compliance", service.compliance),
        *(("control", text) for text in service.controls),
        ("data-flow", DATA_FLOW),
        ("data-usage", DATA_USAGE),
        ("input-output", INPUT_OUTPUT),
        ("not-legal-advice", "Licences and duties are paraphrased; this is not legal advice."),
    ]
    for alias in bill.aliases:
        facts.append((f"alias:{alias.name}:live", alias.live))
        if alias.canary:
            facts.append((f"alias:{alias.name}:canary", f"{alias.canary} at {alias.share:.4g}"))
    for name, value in facts:
        if value:
            yield Property(name=f"liveweights:{name}", value=value)


DATA_FLOW = (
    "requests and answers are recorded in Postgres; reactions are recorded with the answer that "
    "they are about; cycles read those that may be learnt from; what is asked of a hosted model "
    "leaves this machine"
)
DATA_USAGE = (
    "answers and reactions train the next checkpoint and judge it, where tenant and request "
    "allow it; a user's rows are removed on request"
)
INPUT_OUTPUT = "text, token ids and JSON by an OpenAI-compatible API; text and token ids back"


def _splice(document: Document, bill: Bill) -> Document:
    """The library's document with model cards and data."""
    windows = {
        dataset_of(model.window): model.window for model in bill.models.values() if model.window
    }
    for component in components_of(document):
        reference = component["bom-ref"]
        if reference in bill.models:
            chain = bill.chain(reference)
            component["modelCard"] = make_model_card(chain[0], chain[-1], bill.service.application)
        elif reference in windows:
            component["data"] = [make_data(windows[reference], bill.service.author)]
    return document
