"""Packages of npm whose TypeScript developers type, fetched into the cache folder. Nothing of them
is installed or run."""

from __future__ import annotations

import subprocess
import tarfile
from pathlib import Path

from liveweights.replay.corpus import Corpus
from liveweights.replay.npm import read_packages
from liveweights.weights.staging import exclusive, publish, staged

PACKAGES = (
    "@reduxjs/toolkit@2.15.0",
    "@tanstack/query-core@5.108.4",
    "@tanstack/router-core@1.171.39",
    "@trpc/client@11.25.2",
    "@trpc/server@11.25.2",
    "ajv@8.20.0",
    "css-select@7.0.0",
    "effect@4.1.0",
    "entities@9.0.0",
    "htmlparser2@12.0.0",
    "immer@11.2.13",
    "mobx@7.1.3",
    "redux@5.0.1",
    "reselect@5.3.0",
    "rxjs@7.8.2",
    "zod@4.6.7",
)
"""With their sources and under a permissive licence, whose text stays beside them."""


def find_corpus(cache: Path) -> Corpus:
    """Fetch what is missing, by ``npm pack``. Raises CalledProcessError, FileNotFoundError where
    there is no npm."""
    folder = cache / "bench" / "npm"
    for package in PACKAGES:
        find_package(package, folder)
    return read_packages(folder)


def find_package(package: str, folder: Path) -> Path:
    """The unpacked package ``NAME@VERSION``, fetched into ``folder`` at first use. Raises as
    ``find_corpus`` does."""
    target = folder / package.replace("/", "-").lstrip("@")
    with exclusive(target):
        if not target.is_dir():
            with staged(target) as place:
                _fetch(package, place)
                publish(place / "unpacked", target)
    return target / "package"


def _fetch(package: str, place: Path) -> None:
    print(f"fetching {package}", flush=True)
    command = ["npm", "pack", package, "--silent", "--ignore-scripts", "--pack-destination", place]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    [archive] = place.glob("*.tgz")
    with tarfile.open(archive) as packed:
        packed.extractall(place / "unpacked", filter="data")
    # Every archive has one folder, nearly always of this name.
    [inner] = (place / "unpacked").iterdir()
    inner.rename(inner.with_name("package"))
