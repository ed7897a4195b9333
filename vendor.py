"""Bring the files of others that the console's pages use from their npm packages, and check them.

    python vendor.py

What is brought, from which place of which package, and the SHA-256 that it must have is pinned in
``src/liveweights/console/assets/vendored.json``. For a new version: change the pin's version and
run this; it says which hash came instead. Needs npm.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import tarfile
import tempfile
from pathlib import Path

ASSETS = Path(__file__).parent / "src" / "liveweights" / "console" / "assets"


def fetch(package: str, place: str, folder: str) -> bytes:
    """A file out of a package, which npm checks against the registry's own hash."""
    packed = subprocess.run(
        ["npm", "pack", "--silent", "--pack-destination", folder, package],
        check=True,
        capture_output=True,
        text=True,
    )
    with tarfile.open(Path(folder) / packed.stdout.strip().splitlines()[-1]) as archive:
        member = archive.extractfile(f"package/{place}")
        assert member is not None, f"{package} has no file {place}"
        return member.read()


def main() -> None:
    wrong: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        for pin in json.loads((ASSETS / "vendored.json").read_text()):
            body = fetch(f"{pin['package']}@{pin['version']}", pin["place"], folder)
            digest = hashlib.sha256(body).hexdigest()
            if digest != pin["sha256"]:
                wrong.append(f"{pin['file']}: {digest} came, and {pin['sha256']} is pinned")
                continue
            (ASSETS / pin["file"]).write_bytes(body)
    if wrong:
        raise SystemExit("\n".join(wrong))


if __name__ == "__main__":
    main()
