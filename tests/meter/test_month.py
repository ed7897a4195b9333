"""The benchmark of the ledger, small: every process is killed once, and the bill is right."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

BENCH = Path(__file__).parents[2] / "bench" / "ledger.py"


def test_the_bill_is_right_whatever_is_killed(tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    words = [sys.executable, str(BENCH), "--json", str(file)]
    words += ["--answers", "1500", "--tenants", "10", "--kills", "6"]
    ended = subprocess.run(words, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    figures = json.loads(file.read_text())["figures"]
    assert figures["proved"]
    assert figures["answers"] > 1000
    assert figures["refunds"] > 10
    assert figures["kills_of_postgres"] >= 1
    assert figures["kills_of_writer"] >= 1
