"""The API's own description: it is complete, and the API keeps to it whatever is sent."""

from __future__ import annotations

import json
from typing import Any

import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from liveweights.serve.api.settings import ApiSettings

from .doubles import BASE, Api, make_api

CHECKS = (
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
)
API = make_api("hello", context_length=4096)
STRICT = make_api("hello", context_length=4096, settings=ApiSettings(strict=True))
OF_THE_LEDGER = ["/v1/usage", "/v1/costs"]
"""They need a database: tests/insight/test_billing.py asks them."""
SCHEMA = schemathesis.openapi.from_asgi("/openapi.json", API.app).exclude(path=OF_THE_LEDGER)
STRICT_SCHEMA = schemathesis.openapi.from_asgi("/openapi.json", STRICT.app).exclude(
    path=OF_THE_LEDGER
)
for schema in (SCHEMA, STRICT_SCHEMA):
    schema.config.phases.update(phases=["fuzzing"])
fuzzed = settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)


@SCHEMA.parametrize()
@fuzzed
def test_the_api_keeps_to_its_description(case: schemathesis.Case) -> None:
    check(API, case)


@STRICT_SCHEMA.parametrize()
@fuzzed
def test_so_does_one_that_refuses_what_it_does_not_know(case: schemathesis.Case) -> None:
    check(STRICT, case)


def check(api: Api, case: schemathesis.Case) -> None:
    if isinstance(case.body, dict) and "model" in case.body:
        case.body["model"] = "tiny"  # so that something is generated
    response = case.call()
    case.validate_response(response, checks=list(CHECKS))
    assert api.engine.open == 0
    assert api.router.in_use(BASE) == 0


def test_every_parameter_is_described() -> None:
    document: Any = json.loads(API.call("GET", "/openapi.json").body)
    assert document["openapi"].startswith("3.1")
    chat = document["components"]["schemas"]["ChatRequest"]
    for name in ("messages", "n", "logit_bias", "response_format", "tools", "stream_options"):
        assert name in chat["properties"]
    assert chat["additionalProperties"] is False
    references = json.dumps(document).split('"$ref": "#/components/schemas/')[1:]
    for reference in references:
        assert reference.partition('"')[0] in document["components"]["schemas"]
