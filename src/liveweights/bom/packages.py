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

    What only an extra asks for counts where it is installed, if not for ``BUILDING``. Raises PackageNotFoundError.
    """
    packages: dict[str, Package] = {}
    waiting = [distribution(root)]
    while waiting:
        one = waiting.pop()
        name = plain(one.name)
        if name in packages:
            continue
        needed = _needed(one, with_extras=name == plain(root))
        packages[name] = Package(
            name=name,
            version=one.version,
            requires=tuple(sorted(plain(other.name) for other in needed)),
            licence=_licence(one),
        )
        waiting += needed
    first = packages.pop(plain(root))
    return (first, *(packages[name] for name in sorted(packages)))


def plain(name: str) -> str:
    """A name as the package index has it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _needed(one: Distribution, *, with_extras: bool) -> list[Distribution]:
    needed: dict[str, Distribution] = {}
    provided = one.metadata.get_all("Provides-Extra") or [] if with_extras else []
    extras = [extra for extra in provided if extra not in BUILDING]
    for line in one.requires or ():
        requirement = Requirement(line)
        marker = requirement.marker
        if marker and not any(marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            continue
        try:
            needed[plain(requirement.name)] = distribution(requirement.name)
        except PackageNotFoundError:
            continue  # of an extra that is not installed
    return list(needed.values())


def _licence(one: Distribution) -> str | None:
    """As an SPDX expression, where the distribution says it so (PEP 639)."""
    return one.metadata.get("License-Expression")
