"""Facts as components and services of CycloneDX."""

# The extra that this needs may not be installed where types are checked, and the library's
# decorators hide what its classes take.
# pyright: reportMissingImports=false, reportCallIssue=false, reportArgumentType=false
from __future__ import annotations

from collections.abc import Iterable, Iterator

from cyclonedx.model import (
    ExternalReference,
    ExternalReferenceType,
    HashAlgorithm,
    HashType,
    Property,
    XsUri,
)
from cyclonedx.model.component import Component, ComponentType, Pedigree
from cyclonedx.model.contact import OrganizationalEntity, PostalAddress
from cyclonedx.model.license import DisjunctiveLicense, LicenseExpression
from cyclonedx.model.service import Service
from cyclonedx.spdx import fixup_id, is_expression
from packageurl import PackageURL

from liveweights.bom.facts import Hosted, Model, Origin, Package, Window
from liveweights.bom.model_card import CONSENT, CONTENT, dataset_of
from liveweights.catalog.ancestry import Ancestor
from liveweights.weights import hub

SPACE = "liveweights"
"""What names of properties begin with, and made-up package URLs."""
HUB = "https://huggingface.co/"


def make_model(model: Model, parents: list[Model], base: Model, owner: str) -> Component:
    """A checkpoint that was made from its ``parents`` and stands on a ``base``, which it may be."""
    return Component(
        type=ComponentType.MACHINE_LEARNING_MODEL,
        name=model.name,
        version=model.version,
        bom_ref=model.id,
        description=_describe(model, base),
        manufacturer=_maker(model, owner),
        licenses=_licences(base),
        purl=purl_of(model),
        hashes=[_hash(digest) for name, digest in model.files.items() if _is_weights(name)],
        external_references=_references(base.origin, is_own=model is base),
        properties=list(_properties(model, base)),
        pedigree=_pedigree(model, parents),
        components=[_file(model, name, digest) for name, digest in model.files.items()],
    )


def make_dataset(window: Window) -> Component:
    """The data of a window; what it holds is told by ``model_card.make_data``."""
    return Component(
        type=ComponentType.DATA,
        name=f"feedback to {window.alias}, cycle {window.cycle}",
        version=window.root[:12],
        bom_ref=dataset_of(window),
        description=CONTENT,
        licenses=[DisjunctiveLicense(name=f"Not distributed: {CONSENT}")],
        properties=[_property("merkle-root", window.root)],
    )


def make_package(package: Package) -> Component:
    """An installed distribution."""
    licence = package.licence
    expression = licence and is_expression(licence)
    return Component(
        type=ComponentType.LIBRARY,
        name=package.name,
        version=package.version,
        bom_ref=f"pypi:{package.name}",
        purl=PackageURL("pypi", None, package.name, package.version),
        licenses=[LicenseExpression(licence)] if licence and expression else [],
    )


def make_hosted(hosted: Hosted) -> Service:
    """A model that another server runs."""
    origin = hosted.origin
    return Service(
        name=hosted.alias,
        bom_ref=f"hosted:{hosted.alias}",
        description=f"{hosted.model}, run by another",
        endpoints=[XsUri(hosted.url)],
        x_trust_boundary=True,
        licenses=[_licence_of(origin)] if origin and origin.licence else [],
        external_references=_references(origin, is_own=True),
        properties=[
            _property("model", hosted.model),
            *(list(_whose(origin)) if origin else [_property("maker", "unknown")]),
        ],
    )


def purl_of(model: Model) -> PackageURL:
    """The hub's, where a base came from there; else one of ours, by its content."""
    address = hub.ADDRESS.fullmatch(str(model.card.get("origin") or ""))
    if address is not None:
        space, _, name = address[1].partition("/")
        return PackageURL("huggingface", space, name, address[2])
    return PackageURL("generic", SPACE, model.name, model.version)


def _describe(model: Model, base: Model) -> str:
    if model.window is not None:
        how = f"learnt from feedback to {model.window.alias} in cycle {model.window.cycle}"
    elif len(model.parents) > 1:
        how = f"merged of {' and '.join(model.parents)}"
    elif model.parent is not None:
        how = f"made from {model.parent}"
    else:
        how = "as it came"
    what = {"adapter": "LoRA adapter", "full": "whole weights", "base": "base model"}
    whose = base.origin.card.name if base.origin else base.id
    return f"{what.get(model.kind, model.kind)}, {how}; stands on {whose}"


def _maker(model: Model, owner: str) -> OrganizationalEntity | None:
    if model.parent is not None:
        return OrganizationalEntity(name=owner) if owner else None
    card = model.origin.card if model.origin else None
    if card is None or card.maker is None:
        return None
    address = PostalAddress(country=card.country) if card.country else None
    return OrganizationalEntity(name=card.maker, address=address)


def _licences(base: Model) -> Iterable[DisjunctiveLicense]:
    if base.origin and base.origin.licence:
        return [_licence_of(base.origin)]
    written = str(base.card.get("licence") or "unknown")
    if written == "unknown":
        return []
    return [_licence(written)]


def _licence_of(origin: Origin) -> DisjunctiveLicense:
    licence = origin.licence
    assert licence is not None
    return _licence(licence.id, licence.url)


def _licence(name: str, url: str | None = None) -> DisjunctiveLicense:
    where = XsUri(url) if url else None
    if (spdx := fixup_id(name)) is not None:
        return DisjunctiveLicense(id=spdx, url=where)
    return DisjunctiveLicense(name=name, url=where)


def _pedigree(model: Model, parents: list[Model]) -> Pedigree | None:
    """What it was made from, each with its purl; what these were made from stands at themselves,
    so that a document grows with the chain and not with its square. ``notes`` say the same in a
    sentence; of a base, back to the first that its card knows of."""
    ancestors = [
        Component(
            type=ComponentType.MACHINE_LEARNING_MODEL,
            name=one.name,
            version=one.version,
            purl=purl_of(one),
            hashes=[_hash(digest) for name, digest in one.files.items() if _is_weights(name)],
        )
        for one in parents
    ]
    names = [model.id]
    if parents:
        names.append(" and ".join(one.id for one in parents))
    elif model.origin:
        ancestors += [_ancestor(one) for one in model.origin.ancestors]
        names += [one.hub_id for one in model.origin.ancestors]
    if not ancestors:
        return None
    return Pedigree(ancestors=ancestors, notes=" from ".join(names))


def _ancestor(one: Ancestor) -> Component:
    space, _, name = one.hub_id.partition("/")
    return Component(
        type=ComponentType.MACHINE_LEARNING_MODEL,
        name=one.hub_id,
        purl=PackageURL("huggingface", space, name),
        manufacturer=OrganizationalEntity(name=one.maker) if one.maker else None,
        licenses=[_licence(one.licence)] if one.licence else [],
    )


def _properties(model: Model, base: Model) -> Iterator[Property]:
    yield _property("kind", model.kind)
    yield _property("created-at", model.created_at.isoformat())
    for name in ("code", "tenant", "parameters", "context"):
        if (value := model.card.get(name)) is not None:
            yield _property(name, str(value))
    if model.outcome:
        yield _property("cycle-outcome", model.outcome)
    if model.verdict:
        yield _property("gate-verdict", model.verdict)
    for reason in model.reasons:
        yield _property("gate-reason", reason)
    if base.origin is not None:
        yield from _whose(base.origin)
    else:
        yield _property("maker", "unknown")


def _whose(origin: Origin) -> Iterator[Property]:
    card = origin.card
    yield _property("recognised-by", origin.by)
    yield _property("maker", card.maker or "unknown")
    yield _property("country", card.country or "unknown")
    yield _property("licence", card.licence or "unknown")
    if card.released is not None:
        yield _property("released", card.released.isoformat())
    for base in origin.list_bases():
        yield _property("derived-from", base)
    for duty in origin.duties:
        when = f" [{duty.threshold}]" if duty.threshold else ""
        yield _property(f"duty:{duty.kind}", duty.text + when)


def _references(origin: Origin | None, *, is_own: bool) -> list[ExternalReference]:
    """``is_own``: of that model itself, not of one that stands on it."""
    if origin is None:
        return []
    kind = ExternalReferenceType.MODEL_CARD if is_own else ExternalReferenceType.DOCUMENTATION
    references = {HUB + origin.card.hub_id: kind}
    if origin.card.licence_url:
        references.setdefault(origin.card.licence_url, ExternalReferenceType.LICENSE)
    return [
        ExternalReference(type=type_, url=XsUri(url), comment=None if is_own else "of the base")
        for url, type_ in references.items()
    ]


def _file(model: Model, name: str, digest: str) -> Component:
    return Component(
        type=ComponentType.FILE, name=name, bom_ref=f"{model.id}/{name}", hashes=[_hash(digest)]
    )


def _is_weights(name: str) -> bool:
    return name.endswith((".safetensors", ".gguf"))


def _hash(digest: str) -> HashType:
    return HashType(alg=HashAlgorithm.SHA_256, content=digest)


def _property(name: str, value: str) -> Property:
    return Property(name=f"{SPACE}:{name}", value=value)
