"""LiteLLM's bill: what its proxy says that each answer cost, a line of JSON each.

Runs in LiteLLM's own process. Its cost tracker, which adds up what keys and teams have spent, is a
logger of the same kind and takes the same figure; see
https://docs.litellm.ai/docs/proxy/logging#custom-callback-class-async.
"""

from __future__ import annotations

import json
import os
from typing import Any

from litellm.integrations.custom_logger import CustomLogger


class Bill(CustomLogger):
    """Appends to the file that ``$BILL`` names. What failed is there, too, with what it cost."""

    async def async_log_success_event(
        self, kwargs: dict[str, Any], response_obj: Any, start_time: Any, end_time: Any
    ) -> None:
        self._write("success", kwargs)

    async def async_log_failure_event(
        self, kwargs: dict[str, Any], response_obj: Any, start_time: Any, end_time: Any
    ) -> None:
        self._write("failure", kwargs)

    def _write(self, outcome: str, kwargs: dict[str, Any]) -> None:
        told = kwargs.get("standard_logging_object") or {}
        line = {
            "outcome": outcome,
            "number": (kwargs.get("optional_params") or {}).get("seed"),
            "cost": kwargs.get("response_cost"),
            "prompt_tokens": told.get("prompt_tokens"),
            "completion_tokens": told.get("completion_tokens"),
        }
        with open(os.environ["BILL"], "a") as file:
            file.write(json.dumps(line) + "\n")


bill = Bill()
