"""Submitting calls of URLs: envelope, traces, retries after 4xx, and URLs that are gone."""

from __future__ import annotations

from typing import Any

import pytest

from service.store import Store
from tests.api.serving import ADD, Serving

URL = "https://hooks.example.com/orders"
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
OTHER_TRACE = "00-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-00f067aa0ba902b7-01"


async def test_what_was_asked_of_a_call_is_shown(api: Serving) -> None:
    """In the receipt and when it is read; what was not asked for is left out."""
    given = {"envelope": True, "retry_4xx": True, "traceparent": TRACE, "cancel_url": URL}
    task = await api.submitted({"url": URL, **given})
    assert (True, True, TRACE, URL) == tuple(task[n] for n in ("envelope", "retry_4xx", "traceparent", "cancel_url"))
    assert task == await api.read(task["id"])
    bare = await api.submitted({"url": URL, "envelope": False})
    assert not {"envelope", "retry_4xx", "traceparent", "cancel_url"} & bare.keys()


async def test_the_trace_of_the_request_is_the_tasks(api: Serving) -> None:
    """Unless the submission names one; a header that is malformed is ignored, as W3C asks."""
    assert TRACE == (await api.submitted(ADD, headers={"traceparent": TRACE}))["traceparent"]
    own = await api.submitted({**ADD, "traceparent": TRACE}, headers={"traceparent": OTHER_TRACE})
    assert TRACE == own["traceparent"]
    assert "traceparent" not in await api.submitted(ADD, headers={"traceparent": "00-zz"})


async def test_a_repetition_in_another_trace_is_the_same_submission(api: Serving) -> None:
    """A client that sends again has a new span, and the key answers the first task all the same."""
    first = await api.submitted({**ADD, "idempotency_key": "k"}, headers={"traceparent": TRACE})
    again = await api.post({**ADD, "idempotency_key": "k"}, headers={"traceparent": OTHER_TRACE})
    assert (200, first["id"], TRACE) == (again.status_code, again.json()["id"], again.json()["traceparent"])


@pytest.mark.parametrize(
    ("submission", "pointer"),
    [
        ({"url": URL, "cancel_url": "http://169.254.169.254/"}, "/cancel_url"),
        ({"url": URL, "cancel_url": "ftp://a.example"}, "/cancel_url"),
        ({**ADD, "cancel_url": URL}, "/cancel_url"),
        ({"url": URL, "method": "GET", "envelope": True}, "/envelope"),
        ({"url": URL, "headers": {"content-type": "text/plain"}, "envelope": True}, "/headers/content-type"),
        ({**ADD, "envelope": True}, "/envelope"),
        ({**ADD, "retry_4xx": True}, "/retry_4xx"),
    ],
)
async def test_what_does_not_go_together_is_refused(api: Serving, submission: dict[str, Any], pointer: str) -> None:
    """An envelope needs a body of JSON; both need a URL."""
    answer = await api.post(submission)
    assert (422, [pointer]) == (answer.status_code, [fault["pointer"] for fault in answer.json()["errors"]])


async def test_a_url_that_is_gone_is_refused_with_the_reason(api: Serving, store: Store) -> None:
    """Whatever its query, alone and in a batch; others are taken."""
    gone = api.api.runtime.store.gone
    await gone.disable("default", f"{URL}?a=1", store.tasks.clock.now_ms())
    answer = await api.post({"url": f"{URL}?b=2"})
    assert (422, "/problems/invalid-submission") == (answer.status_code, answer.json()["type"])
    [fault] = answer.json()["errors"]
    assert "/url" == fault["pointer"]
    assert f"{URL} answered 410 Gone at" in fault["detail"]
    batch = await api.http.post("/v1/tasks/batch", json=[{"url": URL}, {"url": f"{URL}/others"}])
    assert [422, 201] == [receipt["status"] for receipt in batch.json()]
    await gone.enable("default", URL)
    await api.submitted({"url": URL})
