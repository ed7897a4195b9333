"""GET /healthz: whether a request could be answered now, and if not, why."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
from starlette.types import Receive, Scope, Send

from liveweights.http.wire import reply
from liveweights.record.backlog import Backlog
from liveweights.serve.api.recorder import Recorder
from liveweights.serve.hosted.model import Hosted
from liveweights.serve.models import Models


def health(
    served: Models, backlog: Backlog, hosted: Iterable[Hosted] = ()
) -> tuple[int, dict[str, Any]]:
    """200 when some alias's live checkpoint (if after it was loaded) or some hosted model can
    answer and the record is not late, else 503 with the reason. A hosted model can unless its
    upstream has failed of late."""
    resident, states = served.resident(), served.states()
    models: dict[str, dict[str, Any]] = {
        route.name: {
            "checkpoint": route.live,
            "ready": route.live in resident,
            "state": states[route.name],
        }
        for route in served.routes()
    }
    for model in hosted:
        ready = not model.breaker.pause
        models[model.alias] = {"checkpoint": model.checkpoint, "ready": ready, "state": "hosted"}
    why = backlog.complaint
    if why is None and not any(m["ready"] or m["state"] == "cold" for m in models.values()):
        if any(hosted):
            why = "no model of this server and no upstream of a hosted one can answer"
        elif not models:
            why = "no model has been deployed to this server yet"
        elif resident:
            why = "the engine holds checkpoints, but none that a model points at"
        else:
            why = "the engine holds no checkpoint: it is starting, or it has ended"
    if why is None:
        return 200, {"status": "ok", "models": models}
    return 503, {"status": "unavailable", "why": why, "models": models}


class HealthEndpoint:
    def __init__(self, models: Models, recorder: Recorder, hosted: Iterable[Hosted] = ()) -> None:
        self._models = models
        self._hosted = hosted
        self._recorder = recorder

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        status, body = health(self._models, self._recorder.backlog, self._hosted)
        await reply(send, status, msgspec.json.encode(body))
