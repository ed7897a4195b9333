"""The code that runs: this package and what it needs, as far as it is installed."""

from __future__ import annotations

import re
from importlib.metadata import Distribution, PackageNotFoundError, distribution

from packaging.requirements import Requirement

from liveweights.bom.facts import Package

ROOT = "liveweights"
BUILDING = {"bench", "dev"}
"""Extras for work on this package: what only they ask for is no part of a service."""


def list_packages(root: str = ROOT) -> tuple[Package, ...]:
    """The distribution of that name and, by name, everything that it requires on this machine.

    What only an extra asks for counts where it is installed, if not for ``BUILDING``. Raises
    PackageNotFoundError.
    """
    first = distribution(root)
    provided = first.metadata.get_all("Provides-Extra") or []
    extras = {plain(root): {one for one in provided if one not in BUILDING}}
    packages: dict[str, Package] = {}
    waiting = [first]
    while waiting:
        one = waiting.pop()
        name = plain(one.name)
        needed = _needed(one, extras.get(name, set()))
        packages[name] = Package(
            name=name,
            version=one.version,
            requires=tuple(sorted(needed)),
            licence=_licence(one),
        )
        for other, (installed, asked) in needed.items():
            if other not in packages or not asked <= extras.get(other, set()):
                extras.setdefault(other, set()).update(asked)
                waiting.append(installed)
    own = packages.pop(plain(root))
    return (own, *(packages[name] for name in sorted(packages)))


def plain(name: str) -> str:
    """A name as the package index has it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _needed(one: Distribution, extras: set[str]) -> dict[str, tuple[Distribution, set[str]]]:
    """What it requires with those extras, by name, and with which extras of its own."""
    needed: dict[str, tuple[Distribution, set[str]]] = {}
    for line in one.requires or ():
        requirement = Requirement(line)
        marker = requirement.marker
        if marker and not any(marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            continue
        try:
            installed = distribution(requirement.name)
        except PackageNotFoundError:
            continue  # of an extra that is not installed
        asked = needed.setdefault(plain(requirement.name), (installed, set[str]()))[1]
        asked |= requirement.extras
    return needed


def _licence(one: Distribution) -> str | None:
    """As an SPDX expression, where the distribution says it so (PEP 639)."""
    return next(iter(one.metadata.get_all("License-Expression") or ()), None)
