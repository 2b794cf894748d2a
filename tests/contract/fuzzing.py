"""
What schemathesis is told about the contract: how to speak to the API, and where a check of its does not apply.

All its checks run, on all operations; each exception stands here with its reason.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import hypothesis
import schemathesis
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    negative_data_rejection,
    positive_data_acceptance,
    response_schema_conformance,
    use_after_free,
)

from service.contract import contract_path
from tests import servers
from tests.api.test_web import Web, web

KEY = "the-operators"
# Streams that do not end by themselves; tests/api/test_events.py and test_task_events.py hold them to the contract.
ENDLESS = ("/v1/events", "/v1/tasks/{id}/events")
SCHEMA = schemathesis.openapi.from_path(contract_path()).exclude(path=list(ENDLESS))
# A batch or a stream is taken with faults in it: each submission has a receipt of its own. The contract speaks of YAML
# as the text that it is, the tool of what the text says. A header field that nobody knows is refused nowhere. What was
# aborted or revoked is still there to be read.
EXEMPT = {
    "/v1/tasks/batch": [negative_data_rejection],
    "/v1/tasks/stream": [negative_data_rejection],
    "/v1/handlers/{name}/tasks": [negative_data_rejection],
    "/openapi.yaml": [response_schema_conformance],
    "/v1/bulk/{id}": [use_after_free],
    "/v1/keys/{id}": [use_after_free],
    "/v1/schedules/{name}/backfills/{id}": [use_after_free],
}
SAME_EACH_TIME = hypothesis.settings(
    deadline=None, derandomize=True, database=None, suppress_health_check=list(hypothesis.HealthCheck)
)


@schemathesis.serializer("application/x-ndjson")
def lines(_: Any, value: Any) -> bytes:
    """What is made up for the body of a stream, sent as it stands."""
    return value if isinstance(value, bytes) else str(value).encode(errors="surrogatepass")


@contextmanager
def live_api() -> Iterator[Web]:
    """An API that takes any handler and any query that is made up; 414, which any operation may answer, says little."""
    settings = {"accept_unknown_handlers": 1, "api_key": KEY, "max_target_bytes": 65_536}
    with servers.single("valkey") as server, web(server.url, **settings) as running:
        yield running


def addressed(case: schemathesis.Case, key: str = KEY) -> None:
    """Let *case* through the door by *key*, and do not let it wait long."""
    if (case.headers or {}).get("Prefer") == "wait=10":
        case.headers["Prefer"] = "wait=1"  # nobody works here: it would be ten seconds
    # Keys that the tool makes would shut it out, and one that it makes up for itself is no key.
    case.headers = {**(case.headers or {}), "Authorization": f"Bearer {key}"}


def exempt(case: schemathesis.Case, status: int) -> list[Any]:
    """The checks that do not apply to *case*, which was answered with *status*."""
    answers = case.operation.definition.raw["responses"]
    # That fields do not go together, or a version is an old one, is beyond what a flat schema can say.
    is_strict = "412" in answers or "422" in answers
    excused = [*EXEMPT.get(case.operation.path, ()), *([positive_data_acceptance] if is_strict else [])]
    # Redis may take longer than two seconds on a slow machine, and says so; where that is documented it is no fault.
    return [not_a_server_error, negative_data_rejection, *excused] if status == 503 else excused
