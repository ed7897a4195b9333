"""What a service answers while it cannot answer with a checkpoint, but will later."""

from __future__ import annotations

NOT_READY = frozenset({404, 408, 429, 502, 503, 504})
"""404: the checkpoint has not been loaded yet. 408: a deadline passed, mostly in a queue."""
