"""Models on a hub: downloaded once, at one revision, and never looked up again by themselves."""

from __future__ import annotations

import json
import logging
import re
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from liveweights.weights.content import COVERED
from liveweights.weights.licence_files import PATTERNS
from liveweights.weights.staging import exclusive, write_whole

log = logging.getLogger(__name__)

SCHEME = "hf://"
ADDRESS = re.compile(r"hf://(\w[\w.-]*/\w[\w.-]*)(?:@(\w[\w./-]*))?/?")
COMMIT = re.compile(r"[0-9a-f]{40}")


class HubError(LookupError):
    """The hub does not have it, refuses it or is not reachable; says which."""


class HubAway(HubError):
    """It is not reachable, or has too much to do; another time it may be."""


@dataclass(frozen=True, slots=True)
class Address:
    """``hf://ORG/NAME`` or ``hf://ORG/NAME@REVISION``: a commit, branch or tag."""

    repository: str
    revision: str | None = None

    @classmethod
    def parse(cls, text: str) -> Address:
        """Raises HubError."""
        match = ADDRESS.fullmatch(text)
        if match is None:
            raise HubError(f"{text} is not of the form {SCHEME}ORG/NAME or {SCHEME}ORG/NAME@COMMIT")
        return cls(match[1], match[2])


def download(address: Address, cache: Path) -> Path:
    """The folder of the repository's files, at one commit.

    Which commit a name, branch or tag stands for is asked once and kept in ``cache``: what moves
    on the hub does not change what is served. Files that are here are not asked for again.
    Raises HubError, HubAway.
    """
    name = f"{address.repository}@{address.revision or 'first'}".replace("/", "--")
    pin = cache / "hub" / f"{name}.json"
    with exclusive(pin):
        pinned = _read(pin)
        folder = Path(pinned.get("folder") or "/nonexistent")
        if folder.is_dir():
            return folder
        commit = pinned.get("commit") or _resolve(address)
        folder = _fetch(address.repository, commit)
        write_whole(pin, json.dumps({"commit": commit, "folder": str(folder)}).encode())
    if address.revision != commit:
        log.info("%s is pinned to %s%s@%s", pin, SCHEME, address.repository, commit)
    return folder


def origin(folder: Path) -> str | None:
    """The address that a downloaded folder came from; None for any other."""
    snapshots, repository = folder.parent, folder.parent.parent.name
    if snapshots.name != "snapshots" or not repository.startswith("models--"):
        return None
    return f"{SCHEME}{repository.removeprefix('models--').replace('--', '/', 1)}@{folder.name}"


def _resolve(address: Address) -> str:
    """The commit that the hub has under a name now."""
    if address.revision and COMMIT.fullmatch(address.revision):
        return address.revision
    from huggingface_hub import HfApi

    try:
        commit = HfApi().model_info(address.repository, revision=address.revision, timeout=30).sha
    except Exception as error:  # the hub's own, and whatever its HTTP client raises
        raise _refusal(error) from error
    if not commit or not COMMIT.fullmatch(commit):
        raise HubError(f"the hub names no commit for it: {commit!r}")
    return commit


def _fetch(repository: str, commit: str) -> Path:
    from huggingface_hub import snapshot_download

    wanted = [*COVERED, "README.md", *PATTERNS]
    try:
        return Path(snapshot_download(repository, revision=commit, allow_patterns=wanted))
    except Exception as error:  # the hub's own, and whatever its HTTP client raises
        raise _refusal(error) from error


def _refusal(error: Exception) -> HubError:
    first = next((line for line in str(error).splitlines() if line.strip()), repr(error))
    why = f"the hub did not give it ({type(error).__name__}: {first.strip()})"
    return HubAway(why) if _is_away(error) else HubError(why)


def _is_away(error: BaseException) -> bool:
    """By the answer that it gave, else by what its HTTP client met."""
    import httpx2
    from huggingface_hub.errors import OfflineModeIsEnabled

    met: list[BaseException] = []
    one: BaseException | None = error
    while one is not None and one not in met:
        met.append(one)
        one = one.__cause__ or one.__context__
    for one in met:
        status: Any = getattr(getattr(one, "response", None), "status_code", None)
        if status is not None:
            return status == 429 or status >= 500
    if any(isinstance(one, OfflineModeIsEnabled) for one in met):
        return False
    away = httpx2.TransportError | ConnectionError | TimeoutError | socket.gaierror
    return any(isinstance(one, away) for one in met)


def _read(pin: Path) -> dict[str, Any]:
    try:
        pinned: Any = json.loads(pin.read_text())
    except (OSError, ValueError):
        return {}
    return pinned if isinstance(pinned, dict) else {}
