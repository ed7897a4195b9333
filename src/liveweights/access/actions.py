"""What a row of the audit says was done: one name for an action, whichever way it came."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

OfTenants = Literal[
    "create tenant", "change tenant", "remove tenant", "add credit", "drop adapters"
]  # fmt: skip
OfKeys = Literal["create key", "rotate key", "revoke key"]
OfUsers = Literal["add user", "invite user", "change user", "remove user", "choose password"]
OfMoney = Literal["add price", "assign plan", "reverse charges", "seal days", "close invoice"]
OfTerms = Literal["override rule", "end override"]
OfModels = Literal["add model", "change model", "remove model", "switch base", "switch back"]
OfReleases = Literal[
    "roll back", "start canary", "hold canary", "resume canary", "step canary", "promote canary",
    "abort canary",
]  # fmt: skip
OfLearning = Literal["begin cycle", "cancel cycle", "pause learning", "resume learning"]
OfCheckpoints = Literal["import checkpoint", "merge adapters", "prune checkpoint"]
OfTheRecord = Literal[
    "rate", "import logs", "archive day", "restore day", "forget user", "unlearn user",
    "retry quarantine", "drop quarantine", "rebuild rollups",
]  # fmt: skip
OfScores = Literal["score models", "import scores", "remove scores", "import figures"]
OfDocuments = Literal["add documents", "remove documents"]
OfDatabases = Literal[
    "create database", "fork database", "freeze database", "limit database", "pause database",
    "delete database", "destroy databases",
]  # fmt: skip

Action: TypeAlias = Literal[
    OfTenants, OfKeys, OfUsers, OfMoney, OfTerms, OfModels, OfReleases, OfLearning, OfCheckpoints,
    OfTheRecord, OfScores, OfDocuments, OfDatabases,
]  # fmt: skip
ACTIONS: tuple[Action, ...] = get_args(Action)
