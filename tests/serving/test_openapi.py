"""Generated valid and invalid requests have the answers of the OpenAPI document, without server errors."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from running import Server
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from mtqnet.serving.settings import Settings, markdown

EXAMPLES = 10
"""Of each kind, for each endpoint"""
PARAMETERS = {"history", "{row_id}"}
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    unsupported_method,
]


OPERATIONS = (
    "POST /v1/score", "POST /v1/compare", "POST /v1/picture", "POST /v1/playable", "GET /v1/history",
    "GET /v1/history/{row_id}/audio", "DELETE /v1/history/{row_id}", "GET /v1/models", "GET /v1/models/{name}/record",
    "GET /v1/models/{name}/graph", "GET /healthz",
    "GET /readyz", "GET /metrics",
)  # fmt: skip


@pytest.fixture(scope="module")
def operations(serving: Server) -> dict[str, Any]:
    """What the document describes, by method and path."""
    schema = schemathesis.openapi.from_url(f"{serving.url}/v1/openapi.json")
    found: list[Any] = [result.ok() for result in schema.get_all_operations()]  # type: ignore[union-attr]
    return {f"{one.method.upper()} {one.path}": one for one in found}


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["good", "bad"])
@pytest.mark.parametrize("name", OPERATIONS)
def test_generated_requests(name: str, mode: GenerationMode, operations: dict[str, Any]) -> None:
    @given(case=operations[name].as_strategy(generation_mode=mode))
    @settings(
        max_examples=EXAMPLES, deadline=None, database=None, derandomize=True,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    def answered(case: Any) -> None:
        case.call_and_validate(checks=CHECKS)

    if mode is GenerationMode.NEGATIVE and not PARAMETERS & set(name.split("/")) and "POST" not in name:
        pytest.skip("nothing to get wrong")
    answered()


def test_all_operations_are_tried(operations: dict[str, Any]) -> None:
    assert set(operations) == set(OPERATIONS)


def test_every_endpoint_states_what_it_does_and_how_it_refuses(client: httpx.Client) -> None:
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
