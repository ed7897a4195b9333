"""The line that the model wrote completes a function, which is called in a process of its own."""

import subprocess
import sys
from typing import Any


def score(answer: str, case: dict[str, Any]) -> float:
    program = f"{case['prompt']}{answer}\nassert {case['target']}\n"
    try:
        ran = subprocess.run(
            [sys.executable, "-I", "-c", program], capture_output=True, timeout=5, check=False
        )
    except subprocess.TimeoutExpired:
        return 0.0
    return float(ran.returncode == 0)
