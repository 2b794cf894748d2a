"""
What the schema of a submission takes and refuses, as the service asks it.

Refuses nothing about fields that must go together: code checks those.
The one fact to know: a wrong field is found at its own place, so that a user is told where to look.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml

CONTRACT = Path(__file__).parents[2] / "openapi" / "openapi.yaml"
SUBMISSION = jsonschema_rs.validator_for(
    {
        "$ref": "#/components/schemas/Submission",
        "components": {
            "schemas": yaml.safe_load(CONTRACT.read_text(encoding="utf-8"))["components"]["schemas"]
        },
    },
    validate_formats=True,
)


@pytest.mark.parametrize(
    "submission",
    [
        {"name": "demo.add", "args": {"a": 2}},
        {"url": "http://127.0.0.1:9000/x?y=1", "method": "PUT", "body": None},
        {"name": "a", "delay_seconds": 0.25, "priority": 9, "result_ttl_seconds": 0},
        {"name": "a", "run_at": "2026-12-01T08:00:00.5+01:00", "backoff": {"delays_seconds": [0.1, 5]}},
        {"url": "https://a.example", "envelope": True, "retry_4xx": True},
        {"name": "a", "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"},
        {"url": "https://a.example", "callback": {"url": "https://b.example", "on": ["failed"]}},
    ],
)
def test_good_submissions_pass(submission: dict[str, Any]) -> None:
    """What the documentation shows is taken."""
    assert SUBMISSION.is_valid(submission)


@pytest.mark.parametrize(
    ("submission", "place"),
    [
        ({"name": "with space"}, ["name"]),
        ({"name": "a\n"}, ["name"]),
        ({"name": "a", "args": []}, ["args"]),
        ({"name": "a", "priorty": 9}, []),
        ({"name": "a", "priority": 10}, ["priority"]),
        ({"name": "a", "priority": True}, ["priority"]),
        ({"name": "a", "queue": "a/b"}, ["queue"]),
        ({"name": "a", "delay_seconds": -1}, ["delay_seconds"]),
        ({"name": "a", "delay_seconds": "5"}, ["delay_seconds"]),
        ({"name": "a", "run_at": "2026-12-01T08:00:00"}, ["run_at"]),
        ({"name": "a", "run_at": "tomorrow"}, ["run_at"]),
        ({"name": "a", "timeout_seconds": 0}, ["timeout_seconds"]),
        ({"name": "a", "retries": 1.5}, ["retries"]),
        ({"name": "a", "backoff": [1, 2]}, ["backoff"]),
        ({"name": "a", "backoff": {"base": 1}}, ["backoff"]),
        ({"name": "a", "idempotency_key": 'x"y'}, ["idempotency_key"]),
        ({"name": "a", "tags": [""]}, ["tags", 0]),
        ({"name": "a", "tags": ["a"] * 257}, ["tags"]),
        ({"name": "a", "callback": {"on": ["failed"]}}, ["callback"]),
        ({"name": "a", "callback": {"url": "https://b.example", "on": ["done"]}}, ["callback", "on", 0]),
        ({"url": "ftp://a.example"}, ["url"]),
        ({"url": "http://a.example/\r\nHost: b"}, ["url"]),
        ({"url": "http://a.example", "headers": {"X": "a\r\nY: b"}}, ["headers", "X"]),
        ({"url": "http://a.example", "headers": {"X": 1}}, ["headers", "X"]),
        ({"url": "http://a.example", "method": "post"}, ["method"]),
        ({"name": "a", "traceparent": "00-xyz"}, ["traceparent"]),
        ({"url": "http://a.example", "envelope": "yes"}, ["envelope"]),
        ([], []),
        (None, []),
    ],
)
def test_bad_submissions_are_refused_where_they_are_bad(submission: Any, place: list[str | int]) -> None:
    """The one fault is found, and found at its field."""
    found = SUBMISSION.iter_errors(submission)
    assert [place] == [list(fault.instance_path) for fault in found]
