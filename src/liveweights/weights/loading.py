"""One model at a time is put together in a process."""

from __future__ import annotations

import threading

LOADING = threading.RLock()
"""Held while Transformers or PEFT makes a model: both replace functions of torch meanwhile, for the
whole process, and put back what they found. Two threads that load at the same time leave each
other's replacements behind: models without weights from then on."""
