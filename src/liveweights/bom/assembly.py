"""Components and services put together by ``cyclonedx-python-lib``."""

# The extra that this needs may not be installed where types are checked, and the library's
# decorators hide what its classes take.
# pyright: reportMissingImports=false, reportCallIssue=false, reportArgumentType=false
# pyright: reportAttributeAccessIssue=false
from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cyclonedx.model import ExternalReference, ExternalReferenceType, Property, XsUri
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.contact import OrganizationalContact, OrganizationalEntity
from cyclonedx.model.lifecycle import LifecyclePhase, PredefinedLifecycle
from cyclonedx.model.tool import ToolRepository
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion

from liveweights.bom import components
from liveweights.bom.facts import Bill

SERVICE = "liveweights service"
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


def assemble(bill: Bill) -> str:
    """The document in JSON, as the library writes it."""
    models = {
        id: components.make_model(model, bill.parents(id), bill.base(id), bill.service.author)
        for id, model in bill.models.items()
    }
    windows = {model.window.cycle: model.window for model in bill.models.values() if model.window}
    datasets = {cycle: components.make_dataset(window) for cycle, window in windows.items()}
    packages = {one.name: components.make_package(one) for one in bill.packages}
    hosted = {one.alias: components.make_hosted(one) for one in bill.hosted}
    subject = models.get(bill.reference) or _make_subject(bill)
    _tell(subject, bill)
    bom = Bom(
        metadata=_make_metadata(bill, subject),
        components=[
            *(one for one in models.values() if one is not subject),
            *datasets.values(),
            *packages.values(),
        ],
        services=hosted.values(),
    )
    for id, model in bill.models.items():
        needed = [models[one] for one in sorted({model.base or "", *model.parents}) if one]
        if model.window is not None:
            needed.append(datasets[model.window.cycle])
        bom.register_dependency(models[id], needed)
    for one in bill.packages:
        needed = [packages[name] for name in one.requires if name in packages]
        bom.register_dependency(packages[one.name], needed)
    bom.register_dependency(subject, [packages[one.name] for one in bill.packages[:1]])
    if bill.reference not in models:
        answering = [
            models[id] for alias in bill.aliases for id in (alias.live, alias.canary) if id
        ]
        bom.register_dependency(subject, [*answering, *hosted.values()])
    return make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_7).output_as_string()


def _make_subject(bill: Bill) -> Any:
    """What a bill of an alias, or of the service, is about."""
    service = bill.service
    live = next((one.live for one in bill.aliases if one.name == bill.subject), None)
    return Component(
        type=ComponentType.APPLICATION,
        name=bill.subject or SERVICE,
        version=live or service.version,
        bom_ref=bill.reference,
        description=service.application or None,
        manufacturer=OrganizationalEntity(name=service.author) if service.author else None,
        properties=[Property(name="liveweights:created-at", value=bill.as_of.isoformat())],
    )


def _make_metadata(bill: Bill, subject: Any) -> Any:
    author, version = bill.service.author, bill.service.version
    tool = Component(type=ComponentType.APPLICATION, name="liveweights", version=version)
    return BomMetaData(
        timestamp=bill.as_of,
        component=subject,
        tools=ToolRepository(components=[tool]),
        lifecycles=[PredefinedLifecycle(phase=LifecyclePhase.OPERATIONS)],
        authors=[OrganizationalContact(name=author)] if author else None,
    )


def _tell(subject: Any, bill: Bill) -> None:
    """Add what is said of the service to what the bill is about."""
    for name, value in _about(bill):
        subject.properties.add(Property(name=f"liveweights:{name}", value=value))
    if bill.service.security_policy:
        policy = ExternalReference(
            type=ExternalReferenceType.SECURITY_CONTACT, url=XsUri(bill.service.security_policy)
        )
        subject.external_references.add(policy)


def _about(bill: Bill) -> Iterator[tuple[str, str]]:
    service = bill.service
    for name in ("application", "hardware", "compliance"):
        if value := getattr(service, name):
            yield name, value
    for control in service.controls:
        yield "control", control
    yield "data-flow", DATA_FLOW
    yield "data-usage", DATA_USAGE
    yield "input-output", INPUT_OUTPUT
    yield "note", "Licences and duties are paraphrased; this is not legal advice."
    for alias in bill.aliases:
        yield f"alias:{alias.name}:live", alias.live
        if alias.canary:
            yield f"alias:{alias.name}:canary", f"{alias.canary} at {alias.share:.4g}"
