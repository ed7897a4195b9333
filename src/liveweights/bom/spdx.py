"""A bill of materials as an SPDX 3.0.1 document of the profiles AI, Dataset and Software: the same
facts make the same bytes. Written by ``spdx-python-model``, the SPDX project's own classes."""

from __future__ import annotations

from liveweights.bom.document import BomUnavailable, encode
from liveweights.bom.facts import Bill


def write_spdx(bill: Bill) -> bytes:
    """The bill in canonical JSON-LD: elements in order of their ids, sorted keys, ASCII. Raises
    BomUnavailable."""
    try:
        from liveweights.bom.spdx_elements import assemble
    except ImportError as error:
        raise BomUnavailable(
            "bills of materials need the extra: pip install 'liveweights[bom]'"
        ) from error
    document = assemble(bill)
    document["@graph"].sort(key=lambda element: element.get("spdxId") or element.get("@id"))
    return encode(document)
