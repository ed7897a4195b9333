"""Facts as elements of SPDX 3.0.1.

Mandatory members of the AI and Dataset profiles are always there: where the record has no place to
download from, the package URL stands for it, and who is not known is called so.
"""

# The extra that this needs may not be installed where types are checked, and its classes are made
# of data.
# pyright: reportMissingImports=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportAttributeAccessIssue=false
from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from cyclonedx.spdx import fixup_id, is_expression
from spdx_python_model import v3_0_1 as spdx

from liveweights.bom.components import purl_of
from liveweights.bom.facts import Bill, Hosted, Model, Origin, Package, Window
from liveweights.bom.model_card import CONSENT, CONTENT, PROVENANCE, dataset_of, number

SPACE = "urn:liveweights:"
PROFILES = ("core", "software", "ai", "dataset", "simpleLicensing")
ADVICE = "Licences and duties are paraphrased; this is not legal advice."


def assemble(bill: Bill) -> dict[str, Any]:
    """The document as the library makes it, in its order."""
    making = _Making(bill)
    for model in bill.models.values():
        making.add_model(model)
    for one in bill.hosted:
        making.add_hosted(one)
    for package in bill.packages:
        making.add_package(package)
    making.add_subject()
    return spdx.JSONLDSerializer().serialize_data(making.close(), force_at_graph=True)


@dataclass(slots=True)
class _Making:
    """A document in the making. Elements refer to one another by their ids."""

    bill: Bill
    elements: dict[str, Any] = field(default_factory=dict[str, Any])
    info: Any = field(init=False)
    agent: str = field(init=False)

    def __post_init__(self) -> None:
        author = self.bill.service.author
        self.info = spdx.CreationInfo(
            _id="_:creation", specVersion="3.0.1", created=_moment(self.bill.as_of)
        )
        kind = spdx.Organization if author else spdx.SoftwareAgent
        self.agent = self._add(kind, "author", name=author or "liveweights")
        self.info.createdBy = [self.agent]
        tool = f"liveweights {self.bill.service.version}"
        self.info.createdUsing = [self._add(spdx.Tool, "tool", name=tool)]

    def add_model(self, model: Model) -> None:
        base = self.bill.base(model.id)
        purl = purl_of(model).to_string()
        window, origin = model.window, base.origin
        here = self._add(
            spdx.ai_AIPackage,
            f"model:{model.id}",
            name=model.name,
            description=f"{model.kind}, stands on {base.id}",
            comment=_comment(_judged(model), _owed(origin)),
            builtTime=_moment(model.created_at),
            releaseTime=_moment(window.ended if window and window.ended else model.created_at),
            suppliedBy=self._find_supplier(model),
            software_packageVersion=model.version,
            software_packageUrl=purl,
            software_downloadLocation=str(model.card.get("origin") or purl)
            if str(model.card.get("origin")).startswith(("hf://", "https://"))
            else purl,
            software_primaryPurpose=spdx.software_SoftwarePurpose.model,
            ai_typeOfModel=[str(base.card.get("architecture") or "language model")],
            ai_informationAboutTraining=None if window is None else _trained(window),
            ai_informationAboutApplication=self.bill.service.application or None,
            ai_useSensitivePersonalInformation=spdx.PresenceType.noAssertion
            if window is None
            else spdx.PresenceType.yes,
            ai_metric=[
                spdx.DictionaryEntry(key=f"{one.name} ({one.where})", value=_measured(one))
                for one in model.metrics
            ],
        )
        for name, digest in model.files.items():
            made = self._add(
                spdx.software_File,
                f"file:{model.id}/{name}",
                name=name,
                verifiedUsing=[spdx.Hash(algorithm=spdx.HashAlgorithm.sha256, hashValue=digest)],
            )
            self._relate(here, "contains", [made])
        self._relate(here, "descendantOf", [_id(f"model:{id}") for id in model.parents])
        if window is not None:
            data = self._add_data(window)
            self._relate(here, "trainedOn", [data])
            self._relate(here, "testedOn", [data])
        licence = origin.licence.id if origin and origin.licence else base.card.get("licence")
        self._license(here, str(licence or "unknown"))

    def add_hosted(self, hosted: Hosted) -> None:
        origin = hosted.origin
        here = self._add(
            spdx.ai_AIPackage,
            f"hosted:{hosted.alias}",
            name=hosted.model,
            description=f"run by another, answers as {hosted.alias}",
            comment=_comment(_owed(origin)),
            releaseTime=_moment(self.bill.as_of),
            suppliedBy=self._add_organization(origin and origin.card.maker),
            software_packageVersion="unknown",
            software_downloadLocation=hosted.url,
            software_primaryPurpose=spdx.software_SoftwarePurpose.model,
            ai_typeOfModel=["language model"],
        )
        if origin and origin.licence:
            self._license(here, origin.licence.id)

    def add_package(self, package: Package) -> None:
        here = self._add(
            spdx.software_Package,
            f"pypi:{package.name}",
            name=package.name,
            software_packageVersion=package.version,
            software_packageUrl=f"pkg:pypi/{package.name}@{package.version}",
            software_primaryPurpose=spdx.software_SoftwarePurpose.library,
        )
        there = {one.name for one in self.bill.packages}
        needed = [_id(f"pypi:{name}") for name in package.requires if name in there]
        self._relate(here, "dependsOn", needed)
        if package.licence:
            self._license(here, package.licence)

    def add_subject(self) -> None:
        """What the bill is about, where that is no checkpoint."""
        bill = self.bill
        if bill.reference in bill.models:
            needed = [f"pypi:{one.name}" for one in bill.packages[:1]]
            self._relate(self._subject, "dependsOn", map(_id, needed))
            return
        here = self._add(
            spdx.software_Package,
            bill.reference,
            name=bill.subject or "liveweights service",
            description=bill.service.application or None,
            comment=ADVICE,
            software_packageVersion=bill.service.version,
            software_primaryPurpose=spdx.software_SoftwarePurpose.application,
        )
        answering = [
            f"model:{id}" for alias in bill.aliases for id in (alias.live, alias.canary) if id
        ]
        needed = [
            *answering,
            *(f"hosted:{one.alias}" for one in bill.hosted),
            *(f"pypi:{one.name}" for one in bill.packages[:1]),
        ]
        self._relate(here, "dependsOn", map(_id, needed))

    def close(self) -> Any:
        """All elements, with the bill and the document that they are in."""
        profiles = [getattr(spdx.ProfileIdentifierType, name) for name in PROFILES]
        inside = sorted(self.elements)
        bom = self._add(
            spdx.software_Sbom,
            "bill",
            rootElement=[self._subject],
            element=inside,
            profileConformance=profiles,
            software_sbomType=[spdx.software_SbomType.runtime],
        )
        self._add(
            spdx.SpdxDocument,
            "document",
            name=f"bill of materials of {self.bill.subject or 'the service'}",
            rootElement=[bom],
            element=[*inside, bom],
            profileConformance=profiles,
        )
        return spdx.SHACLObjectSet([self.info, *self.elements.values()])

    @property
    def _subject(self) -> str:
        bill = self.bill
        model = bill.reference in bill.models
        return _id(f"model:{bill.reference}" if model else bill.reference)

    def _add(self, kind: Any, reference: str, /, **members: Any) -> str:
        """An element, unless it is there; its id. Members that are None or empty are left out."""
        id = _id(reference)
        if id not in self.elements:
            given = {key: value for key, value in members.items() if value not in (None, [])}
            self.elements[id] = kind(_id=id, creationInfo=self.info, **given)
        return id

    def _relate(self, one: str, how: str, others: Iterable[str]) -> None:
        if to := sorted(others):
            self._add(
                spdx.Relationship,
                f"{one.removeprefix(SPACE)}:{how}:{to[0].removeprefix(SPACE)}",
                from_=one,
                to=to,
                relationshipType=getattr(spdx.RelationshipType, how),
            )

    def _license(self, one: str, licence: str) -> None:
        """What is not in SPDX's list is left out here; duties are among the comments."""
        expression = fixup_id(licence) or (licence if is_expression(licence) else None)
        if expression is not None:
            made = self._add(
                spdx.simplelicensing_LicenseExpression,
                f"licence:{expression}",
                simplelicensing_licenseExpression=expression,
            )
            self._relate(one, "hasDeclaredLicense", [made])

    def _add_organization(self, name: str | None) -> str:
        return self._add(spdx.Organization, f"maker:{name or 'unknown'}", name=name or "unknown")

    def _find_supplier(self, model: Model) -> str:
        if model.parent is not None:
            return self.agent
        return self._add_organization(model.origin.card.maker if model.origin else None)

    def _add_data(self, window: Window) -> str:
        reference = dataset_of(window)
        return self._add(
            spdx.dataset_DatasetPackage,
            reference,
            name=f"feedback to {window.alias}, cycle {window.cycle}",
            description=CONTENT,
            comment=_comment(
                f"Merkle root {window.root} (RFC 9162, SHA-256) over {window.reactions} reactions",
                f"not distributed: {CONSENT}",
            ),
            builtTime=_moment(window.began),
            releaseTime=_moment(window.ended or window.began),
            originatedBy=[self.agent],
            software_packageVersion=window.root[:12],
            software_downloadLocation=_id(reference),
            software_primaryPurpose=spdx.software_SoftwarePurpose.data,
            dataset_datasetType=[spdx.dataset_DatasetType.text],
            dataset_datasetSize=window.trained + window.held_back,
            dataset_dataCollectionProcess=PROVENANCE,
            dataset_intendedUse="training and judging the checkpoint of its cycle",
            dataset_confidentialityLevel=spdx.dataset_ConfidentialityLevelType.red,
            dataset_hasSensitivePersonalInformation=spdx.PresenceType.yes,
        )


def _id(name: str) -> str:
    return SPACE + quote(name, safe=":/@")


def _moment(moment: datetime) -> datetime:
    """SPDX has seconds."""
    return moment.astimezone(UTC).replace(microsecond=0)


def _judged(model: Model) -> str:
    told = [part for part in (model.outcome, model.verdict, *model.reasons) if part]
    return f"cycle and gate: {'; '.join(told)}" if told else ""


def _owed(origin: Origin | None) -> str:
    if origin is None:
        return "whose it is, is not known"
    card = origin.card
    bases = "; ".join(origin.list_bases())
    derived = f"derived from {bases}. " if bases else ""
    owed = "; ".join(f"{duty.kind}: {duty.text}" for duty in origin.duties)
    whose = f"maker {card.maker or 'unknown'}, country {card.country or 'unknown'}"
    return (
        f"{whose}, recognised by its {origin.by}. {derived}Duties: {owed or 'none known'}. {ADVICE}"
    )


def _trained(window: Window) -> str:
    signals = ", ".join(f"{window.signals[name]} {name}" for name in sorted(window.signals))
    return (
        f"learnt from {window.trained} answers with the reactions of users ({signals}), judged by"
        f" {window.held_back} that were held back"
    )


def _measured(one: Any) -> str:
    if one.low is None or one.high is None:
        return number(one.value)
    return f"{number(one.value)} [{number(one.low)}, {number(one.high)}]"


def _comment(*parts: str) -> str | None:
    return ". ".join(part.rstrip(".") for part in parts if part) or None
