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

from service.api.app import ROUTES, Api
from service.contract import contract, operations
from service.settings import Settings
from tests.api.test_web import Web
from tests.contract.fuzzing import SAME_EACH_TIME, SCHEMA, addressed, exempt, live_api

EXAMPLES = 10


@pytest.fixture(scope="module")
def live() -> Iterator[Web]:
    with live_api() as running:
        yield running


@pytest.mark.full
@SCHEMA.parametrize()
@hypothesis.settings(SAME_EACH_TIME, max_examples=EXAMPLES)
def test_answers_are_those_of_the_contract(case: schemathesis.Case, live: Web) -> None:
    """Whatever is sent, the answer has a status, a media type and a form that the contract tells of."""
    addressed(case)
    answer = case.call(base_url=str(live.http.base_url), timeout=60)
    case.validate_response(answer, excluded_checks=exempt(case, answer.status_code))


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
    assert (64, 16 * 1024, 8 * 1024) == (defaults.max_depth, defaults.max_headers_bytes, defaults.max_target_bytes)
    assert (2048, 32, 128) == (defaults.max_url_length, defaults.max_tags, defaults.max_tag_length)
    assert (10, 30) == (defaults.head_timeout_seconds, defaults.body_timeout_seconds)


def request_schema(path: str) -> dict[str, Any]:
    schema: dict[str, Any] = contract()["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
    return schema
