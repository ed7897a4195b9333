"""Whether a bill of materials is what it was when it was made, and keeps to the standard."""

# The extra that this needs may not be installed where types are checked.
# pyright: reportMissingImports=false
from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from liveweights.bom.document import BomUnavailable, Document

FORMAT = {"bomFormat": "CycloneDX", "specVersion": "1.7"}
DEEPEST = 64
"""Levels of a document: ours have fewer than twenty."""


class BrokenBom(ValueError):
    """A file is no bill of materials that could be compared; one sentence says why."""


def read_document(content: bytes) -> Document:
    """Raises BrokenBom for what is no CycloneDX 1.7 in JSON."""
    try:
        document: Any = json.loads(content.decode())
    except (ValueError, RecursionError) as error:  # ValueError: neither UTF-8 nor JSON
        raise BrokenBom(f"it is no JSON: {error}") from error
    if not isinstance(document, dict):
        raise BrokenBom("it holds no object")
    if _is_deeper(document, DEEPEST):
        raise BrokenBom(f"it is nested more than {DEEPEST} levels deep")
    for name, value in FORMAT.items():
        if document.get(name) != value:
            raise BrokenBom(f"its {name} is {document.get(name)!r}, not {value!r}")
    return document


def find_fault(content: bytes) -> str | None:
    """What the official schema of CycloneDX 1.7 says against it; None where it is valid.

    Raises BomUnavailable.
    """
    try:
        from cyclonedx.schema import SchemaVersion
        from cyclonedx.validation.json import JsonStrictValidator

        error = JsonStrictValidator(SchemaVersion.V1_7).validate_str(content.decode())
    except ImportError as missing:
        raise BomUnavailable(
            "checking bills of materials needs the extra: pip install 'liveweights[bom]'"
        ) from missing
    return None if error is None else str(error)


def compare(given: Any, made: Any, where: str = "") -> Iterator[str]:
    """Where two documents differ: the path of each value, and both values."""
    if isinstance(given, dict) and isinstance(made, dict):
        for name in sorted({*given, *made}):
            yield from _compare_member(given, made, name, f"{where}.{name}".lstrip("."))
    elif isinstance(given, list) and isinstance(made, list):
        if len(given) != len(made):
            yield f"{where} has {len(given)} entries; the record has {len(made)}"
        for number, (one, other) in enumerate(zip(given, made, strict=False)):
            yield from compare(one, other, f"{where}[{number}]")
    elif given != made:
        yield f"{where} is {given!r}; by the record it is {made!r}"


def _compare_member(
    given: dict[str, Any], made: dict[str, Any], name: str, where: str
) -> Iterator[str]:
    if name not in given:
        yield f"{where} is missing; by the record it is {_short(made[name])}"
    elif name not in made:
        yield f"{where} is {_short(given[name])}; the record has no such thing"
    else:
        yield from compare(given[name], made[name], where)


def _is_deeper(value: Any, levels: int) -> bool:
    if not isinstance(value, dict | list):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_is_deeper(one, levels - 1) for one in inner)


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:77]}..."
