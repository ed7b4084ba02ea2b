"""Generated requests, good and bad, get what the OpenAPI document says: no server error, no other shape."""

from __future__ import annotations

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from running import Server
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from mtqnet.service.settings import Settings, markdown

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    unsupported_method,
]


@pytest.fixture(scope="session")
def api(serving: Server) -> schemathesis.BaseSchema:
    return schemathesis.openapi.from_url(f"{serving.url}/v1/openapi.json")


schema = schemathesis.pytest.from_fixture("api")


@schema.parametrize()
@settings(max_examples=12, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_generated_requests(case: schemathesis.Case) -> None:
    case.call_and_validate(checks=CHECKS)


def test_every_endpoint_says_what_it_does_and_how_it_refuses(client: httpx.Client) -> None:
    document = client.get("/v1/openapi.json").json()
    paths = {"/v1/score", "/v1/compare", "/v1/history", "/v1/models", "/healthz", "/readyz", "/metrics"}
    assert paths <= set(document["paths"])
    for path, methods in document["paths"].items():
        for method, told in methods.items():
            assert told["description"], (method, path)
            assert "application/problem+json" in told["responses"]["401"]["content"], (method, path)
            assert "HTTPValidationError" not in str(told), (method, path)


def test_the_table_of_settings_names_each() -> None:
    for name in Settings.model_fields:
        assert f"`MTQNET_{name.upper()}`" in markdown()
