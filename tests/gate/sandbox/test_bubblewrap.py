from __future__ import annotations

from pathlib import Path

import pytest

from liveweights.gate.sandbox import SandboxUnavailable
from liveweights.gate.sandbox.bubblewrap import find_bubblewrap, find_prlimit


def test_what_is_missing_is_named_with_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SandboxUnavailable, match="apt-get install bubblewrap"):
        find_bubblewrap()
    with pytest.raises(SandboxUnavailable, match="apt-get install util-linux"):
        find_prlimit()


def test_an_old_bubblewrap_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = tmp_path / "bwrap"
    old.write_text("#!/bin/sh\necho bubblewrap 0.6.1\n")
    old.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SandboxUnavailable, match=r"0\.6 at .* is too old; at least 0\.8"):
        find_bubblewrap()
