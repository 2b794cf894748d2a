"""The request a URL task makes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest

from service.request import Delivery, UnusableRequest, child_of, place_of, request_body, request_headers

DELIVERY = Delivery(
    task_id="01K9", name=None, attempt=2, most_attempts=4, sent_ms=1_795_305_600_500, deadline_ms=1_795_305_630_500
)


LATER = "https://t.example/v1/completions/t0ken"


def headers(**submission: Any) -> dict[str, str]:
    return request_headers(submission, DELIVERY)


def test_the_headers_tell_of_the_attempt():
    """A receiver sees which task, which attempt, how many may come, and until when."""
    assert {
        "webhook-id": "01K9",
        "webhook-timestamp": "1795305600",
        "Taskpost-Task": "01K9",
        "Taskpost-Attempt": "2",
        "Taskpost-Max-Attempts": "4",
        "Taskpost-Deadline": "2026-11-22T00:00:30.500Z",
    }.items() <= headers().items()
    assert "Taskpost-Name" not in headers()
    assert "Content-Type" not in headers()


def test_the_submissions_own_headers_win_over_defaults():
    """In any case of letters."""
    sent = headers(body={}, headers={"content-type": "application/x", "USER-AGENT": "mine", "Accept": "text/csv"})
    assert {"content-type": "application/x", "USER-AGENT": "mine", "Accept": "text/csv"}.items() <= sent.items()
    assert {"content-type", "user-agent", "accept"} == {name.lower() for name in sent} & {
        "content-type",
        "user-agent",
        "accept",
    }
    assert len(sent) == len({name.lower() for name in sent})


@pytest.mark.parametrize(
    "given",
    [
        {"Host": "other"},
        {"content-length": "1"},
        {"Transfer-Encoding": "chunked"},
        {"Taskpost-Attempt": "1"},
        {"webhook-id": "x"},
        {"a b": "x"},
        {"": "x"},
        {"X": "a\r\nY: b"},
        {"X": "a\nb"},
        {"X": "ä"},
        {"X": 5},
    ],
)
def test_a_header_that_could_change_the_request_is_refused(given):
    """No second request, no false attempt number."""
    with pytest.raises(UnusableRequest, match="header"):
        headers(headers=given)


@pytest.mark.parametrize(
    ("submission", "expected"),
    [
        ({}, None),
        ({"body": None}, b"null"),
        ({"body": {"a": [1]}}, b'{"a":[1]}'),
        ({"body": "text"}, b'"text"'),
        ({"body": "text", "headers": {"Content-Type": "text/plain"}}, b"text"),
        ({"body": "<a/>", "headers": {"content-type": "application/xml"}}, b"<a/>"),
        ({"body": "text", "headers": {"Content-Type": "application/vnd.api+json"}}, b'"text"'),
        ({"body": {"a": 1}, "headers": {"Content-Type": "text/plain"}}, b'{"a":1}'),
    ],
)
def test_a_body_is_json_unless_it_is_text_of_another_type(submission, expected):
    """A string under another Content-Type goes out as it stands."""
    assert expected == request_body(submission, DELIVERY)


def test_an_envelope_tells_of_the_task_in_the_body() -> None:
    """For endpoints that would rather not read headers; the body is one field of it."""
    submission = {"envelope": True, "body": {"a": [1]}, "tags": ["t"], "metadata": {"m": 1}}
    assert {
        "task": "01K9",
        "attempt": 2,
        "max_attempts": 4,
        "deadline": "2026-11-22T00:00:30.500Z",
        "queue": "mail",
        "tags": ["t"],
        "metadata": {"m": 1},
        "completion_url": "https://t.example/v1/completions/t0ken",
        "body": {"a": [1]},
    } == orjson.loads(request_body(submission, replace(DELIVERY, queue="mail", completion_url=LATER)) or b"")
    assert "application/json" == headers(envelope=True)["Content-Type"]


def test_the_endpoint_is_told_where_it_may_finish_later() -> None:
    """The token in it is for this attempt alone."""
    assert LATER == request_headers({}, replace(DELIVERY, completion_url=LATER))["Taskpost-Completion-Url"]
    assert "Taskpost-Completion-Url" not in headers()


def test_a_call_is_part_of_the_trace_of_its_submission() -> None:
    """The same trace, a span of its own; a submission that sets the header itself has the last word."""
    child = child_of("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", bytes(range(8)))
    assert "00-4bf92f3577b34da6a3ce929d0e0e4736-0001020304050607-01" == child
    traced = replace(DELIVERY, traceparent=child)
    assert child == request_headers({}, traced)["traceparent"]
    own = request_headers({"headers": {"Traceparent": "mine"}}, traced)
    assert ["mine"] == [value for name, value in own.items() if name.lower() == "traceparent"]
    assert "traceparent" not in headers()


def test_errors_name_a_url_without_its_secrets():
    """User, password and query stay out of records and logs."""
    assert "https://h:8443/a/b" == place_of("https://user:pw@h:8443/a/b?token=s3cret#part")
    assert "the URL" == place_of("http://[broken")
