"""Today's counts of a hub."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator
from typing import Any

from liveweights.adoption.snapshots import Snapshot

WANTED = ["downloadsAllTime", "childrenModelCount"]


class NotCounted(LookupError):
    """The hub does not say how often a model was downloaded; the message names both."""


def fetch_snapshots(models: Iterable[str], day: datetime.date) -> Iterator[Snapshot | NotCounted]:
    """All downloads of each model so far, and its derivatives, as the hub has them on ``day``; what
    a model is not counted for, in its place. Asks once for each model."""
    from huggingface_hub import HfApi, constants

    api: Any = HfApi()
    for model in models:
        try:
            info = api.model_info(model, expand=WANTED, timeout=30)
        except Exception as error:  # the hub's own, and whatever its HTTP client raises
            line = " ".join(str(error).split())[:200]
            yield NotCounted(f"{model}: {constants.ENDPOINT} did not say: {line}")
            continue
        downloads = getattr(info, "downloads_all_time", None)
        if not isinstance(downloads, int):
            yield NotCounted(f"{model}: {constants.ENDPOINT} counts no downloads of it")
            continue
        derivatives = getattr(info, "children_model_count", None)
        yield Snapshot(
            model=model,
            day=day,
            downloads=downloads,
            derivatives=derivatives if isinstance(derivatives, int) else None,
            source=f"{constants.ENDPOINT}/{model}",
        )
