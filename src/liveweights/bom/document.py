"""A bill of materials as a CycloneDX 1.7 document: the same facts make the same bytes.

Written by ``cyclonedx-python-lib``. What that has no classes for, model cards and what data holds
(issues 912 and 913 of CycloneDX/cyclonedx-python-lib), is added to its JSON.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

from liveweights.bom.facts import ALIAS, WHOLE, Bill
from liveweights.bom.model_card import dataset_of, make_data, make_model_card

Document = dict[str, Any]


class BomUnavailable(RuntimeError):
    """What writes and checks bills of materials is not installed."""


def write_document(bill: Bill) -> bytes:
    """The bill in canonical JSON: sorted keys, ASCII, one line end at the end.

    Its time is that of its newest fact, and its serial number is made of its content. Raises
    BomUnavailable.
    """
    try:
        from liveweights.bom.assembly import assemble
    except ImportError as error:
        raise BomUnavailable(
            "bills of materials need the extra: pip install 'liveweights[bom]'"
        ) from error
    document = _splice(json.loads(assemble(bill)), bill)
    document.pop("serialNumber", None)
    name = uuid.uuid5(uuid.NAMESPACE_URL, encode(document).decode())
    document["serialNumber"] = f"urn:uuid:{name}"
    return encode(document)


def can_write() -> bool:
    """Whether what writes bills is installed."""
    return find_spec("cyclonedx") is not None


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


def _splice(document: Document, bill: Bill) -> Document:
    """The library's document with model cards and data."""
    windows = {
        dataset_of(model.window): model.window for model in bill.models.values() if model.window
    }
    for component in components_of(document):
        reference = component["bom-ref"]
        if reference in bill.models:
            model, base = bill.models[reference], bill.base(reference)
            component["modelCard"] = make_model_card(model, base, bill.service.application)
        elif reference in windows:
            component["data"] = [make_data(windows[reference], bill.service.author)]
    return document
