"""
The running service is held to the contract: paths, methods, statuses, media types, schemas, problems.

Every operation is called with what its schemas allow and with what they do not, against a real process on a real store.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest
import schemathesis
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from service.api.app import ROUTES, Api
from service.contract import contract, contract_path, operations
from service.settings import Settings
from tests import servers
from tests.api.test_web import Web, web

EXAMPLES = 50
KEY = "the-operators"
CHECKS = [
    not_a_server_error,
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
]
# A batch or a stream is taken with faults in it: each submission has a receipt of its own. The contract speaks of YAML
# as the text that it is, the tool of what the text says. A header field that nobody knows is refused nowhere.
EXEMPT = {
    "/v1/tasks/batch": [negative_data_rejection],
    "/v1/tasks/stream": [negative_data_rejection],
    "/v1/handlers/{name}/tasks": [negative_data_rejection],
    "/openapi.yaml": [response_schema_conformance],
}
# Streams that do not end by themselves; tests/api/test_events.py and test_task_events.py hold them to the contract.
ENDLESS = ("/v1/events", "/v1/tasks/{id}/events")
SCHEMA = schemathesis.openapi.from_path(contract_path())


@schemathesis.serializer("application/x-ndjson")
def lines(_: Any, value: Any) -> bytes:
    """What is made up for the body of a stream, sent as it stands."""
    return value if isinstance(value, bytes) else str(value).encode(errors="surrogatepass")


@pytest.fixture(scope="module")
def live() -> Iterator[Web]:
    """An API that takes any handler, so that submissions made up from the schema can be stored."""
    with servers.single("valkey") as server, web(server.url, accept_unknown_handlers=1, api_key=KEY) as running:
        yield running


@SCHEMA.exclude(path=list(ENDLESS)).parametrize()
@hypothesis.settings(
    max_examples=EXAMPLES, deadline=None, derandomize=True, database=None,
    suppress_health_check=list(hypothesis.HealthCheck),
)  # fmt: skip
def test_answers_are_those_of_the_contract(case: schemathesis.Case, live: Web) -> None:
    """Whatever is sent, the answer has a status, a media type and a form that the contract tells of."""
    if (case.headers or {}).get("Prefer") == "wait=10":
        case.headers["Prefer"] = "wait=1"  # nobody works here: it would be ten seconds
    # Keys that the tool makes would shut it out, and one that it makes up for itself is no key.
    case.headers = {**(case.headers or {}), "Authorization": f"Bearer {KEY}"}
    exempt = EXEMPT.get(case.operation.path, ())
    checks = [check for check in CHECKS if check not in exempt]
    case.call_and_validate(base_url=str(live.http.base_url), checks=checks, timeout=60)


def test_paths_and_methods_are_those_of_the_contract() -> None:
    """Nothing is served that the contract does not tell of, and all that it tells of is served."""
    api = Api(Settings())
    told = {path: set() for path, _, _ in operations()}
    for path, method, _ in operations():
        told[path] |= {"GET", "HEAD"} if method == "GET" else {method}
    assert told == {path: set(api.methods(path)) for path in ROUTES}


def test_bounds_that_the_contract_names_are_the_defaults() -> None:
    """The numbers that users read are those that hold unless somebody changed a setting."""
    defaults = Settings()
    assert defaults.max_batch_tasks == request_schema("/v1/tasks/batch")["maxItems"]
    mib = 1024 * 1024
    assert (mib, 16 * mib, mib) == (defaults.max_body_bytes, defaults.max_batch_bytes, defaults.max_line_bytes)
    assert (64, 16 * 1024) == (defaults.max_depth, defaults.max_headers_bytes)


def request_schema(path: str) -> dict[str, Any]:
    schema: dict[str, Any] = contract()["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
    return schema
