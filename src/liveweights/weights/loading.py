"""One model at a time is put together in a process.

Transformers and PEFT replace functions of torch while they make a model, for the whole process, and
put back what they found. Two threads that load at the same time leave each other's replacements
behind: models without weights from then on.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

LOADING = threading.RLock()
"""Held while Transformers or PEFT makes a model."""


def load_causal(folder: Path, **options: Any) -> Any:
    """The causal language model in ``folder``, or what ``options`` of ``from_pretrained`` make of
    that; nothing is fetched, and no code of the folder's is run. Raises OSError, ValueError."""
    from transformers import AutoModelForCausalLM

    with LOADING:
        return AutoModelForCausalLM.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False, **options
        )


def load_adapter(model: Any, folder: Path, **options: Any) -> Any:
    """``model``, changed in place, with the PEFT adapter in ``folder``. Raises OSError,
    ValueError."""
    from peft import PeftModel

    with LOADING:
        return PeftModel.from_pretrained(model, str(folder), **options)
