"""What the answer of a URL means, by the table of outcomes. The outside world is respx."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from unittest.mock import ANY

import httpx
import orjson
import pytest
import respx

from service.ids import encode_id
from service.outcome import Accepted
from service.task import Leased
from workers import Context
from workers.outcome import Cancelled, Deferred, Failed, Outcome, Succeeded
from workers.push.answer import Answer, outcome_of
from workers.push.client import PushClient

URL = "http://hooks.test/invoices?token=s3cret"
PLACE = "http://hooks.test/invoices"
OPTIONS = {"timeout_seconds": 30, "retries": 3}


def leased(**submission: Any) -> Leased:
    return Leased(
        id=bytes(16),
        token=b"",
        raw=b"",
        submission={"url": URL} | submission,
        queue="default",
        namespace="default",
        priority=5,
        lane="url",
        attempt=1,
        crashes=0,
        leased_ms=0,
    )


@pytest.fixture
def hook() -> Iterator[respx.Route]:
    with respx.mock(using="httpx", assert_all_called=False) as router:
        yield router.route(url=URL)


async def call(ctx: Context | None = None, **submission: Any) -> Outcome:
    client = PushClient(max_result_bytes=1000)
    try:
        return await client.call(leased(**submission), OPTIONS, 1_795_305_630_500, ctx)
    finally:
        await client.aclose()


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (httpx.Response(200, json={"a": [1, None]}), {"a": [1, None]}),
        (httpx.Response(201, content=b"[1]\n", headers={"content-type": "Application/Vnd.X+json; v=1"}), [1]),
        (httpx.Response(200, content=b"{broken", headers={"content-type": "application/json"}), "{broken"),
        (httpx.Response(200, text="Grüße"), "Grüße"),
        (httpx.Response(200, content=b"Gr\xfc", headers={"content-type": "text/plain; charset=latin-1"}), "Grü"),
        (
            httpx.Response(200, content=b"Gr\xfc", headers={"content-type": "text/plain; charset=nonsense"}),
            {"base64": "R3L8", "content_type": "text/plain; charset=nonsense"},
        ),
        (
            httpx.Response(200, content=b"\xff", headers={"content-type": "image/png"}),
            {"base64": "/w==", "content_type": "image/png"},
        ),
        (httpx.Response(200, content=b"\xff"), {"base64": "/w==", "content_type": "application/octet-stream"}),
        (httpx.Response(204), None),
        (httpx.Response(200, json=5, headers={"taskpost-no-retry": "1"}), 5),
    ],
)
async def test_2xx_is_success_and_the_body_the_result(hook, answer, expected):
    """JSON as JSON, text as text by its charset, other bytes as base64, nothing as null."""
    hook.return_value = answer
    outcome = await call()
    assert isinstance(outcome, Succeeded)
    assert expected == orjson.loads(outcome.result_json)
    assert {"status": answer.status_code, "total_ms": ANY} == outcome.http


@pytest.mark.parametrize(
    ("status", "sent", "expected"),
    [
        (408, {}, True),
        (425, {}, True),
        (429, {}, True),
        (429, {"retry-after": "whenever"}, True),
        (500, {}, True),
        (500, {"retry-after": "5"}, True),
        (503, {}, True),
        (599, {}, True),
        (500, {"taskpost-no-retry": "1"}, False),
        (429, {"retry-after": "5", "taskpost-no-retry": "1"}, False),
        (400, {}, False),
        (401, {}, False),
        (404, {}, False),
        (410, {}, False),
        (422, {}, False),
        (304, {}, False),
    ],
)
async def test_which_failures_are_tried_again(hook, status, sent, expected):
    """Only those that another attempt may mend; the endpoint can forbid it."""
    hook.return_value = httpx.Response(status, headers=sent)
    outcome = await call()
    assert isinstance(outcome, Failed)
    assert (expected, f"HttpStatus{status}", {"status": status}) == (
        outcome.retry,
        outcome.error["type"],
        {"status": (outcome.http or {})["status"]},
    )
    assert outcome.after_seconds is None
    assert outcome.error["message"].startswith(f"{PLACE} answered {status}")
    assert "s3cret" not in str(outcome)


@pytest.mark.parametrize(
    ("status", "sent", "expected"),
    [
        (400, {}, True),
        (404, {}, True),
        (499, {}, True),
        (410, {}, False),
        (302, {}, False),
        (404, {"taskpost-no-retry": "1"}, False),
    ],
)
async def test_a_task_can_ask_for_retries_after_4xx(hook, status, sent, expected):
    """But 410 is meant for ever, and the endpoint has the last word."""
    hook.return_value = httpx.Response(status, headers=sent)
    outcome = await call(retry_4xx=True)
    assert isinstance(outcome, Failed)
    assert expected == outcome.retry


@pytest.mark.parametrize(
    ("status", "sent", "expected"),
    [
        (202, {"taskpost-async": "1"}, Accepted(60)),
        (202, {"taskpost-async": " 1 ", "taskpost-heartbeat": "300"}, Accepted(300)),
        (202, {"taskpost-async": "1", "taskpost-heartbeat": "0.2"}, Accepted(1)),
        (202, {"taskpost-async": "1", "taskpost-heartbeat": "1e9"}, Accepted(86_400)),
        (202, {"taskpost-async": "1", "taskpost-heartbeat": "nan"}, Accepted(60)),
        (202, {"taskpost-async": "1", "taskpost-heartbeat": "often"}, Accepted(60)),
        (202, {"taskpost-async": "0"}, Succeeded(b"null", {"status": 202, "total_ms": ANY})),
        (200, {"taskpost-async": "1"}, Succeeded(b"null", {"status": 200, "total_ms": ANY})),
        (202, {"taskpost-heartbeat": "5"}, Succeeded(b"null", {"status": 202, "total_ms": ANY})),
    ],
)
async def test_an_endpoint_can_take_the_task_over(hook, status, sent, expected):
    """Only by 202 with `Taskpost-Async: 1`; how often it will be heard from is bounded."""
    hook.return_value = httpx.Response(status, headers=sent)
    assert expected == await call()


async def test_the_call_carries_the_trace(hook):
    """The same span however often the attempt's request is made; another in another attempt."""
    hook.return_value = httpx.Response(200)
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    await call(traceparent=trace)
    await call(traceparent=trace)
    first, second = (one.request.headers["traceparent"] for one in hook.calls)
    assert first == second
    assert first.startswith(trace[:36])
    assert first != trace


@pytest.mark.parametrize("status", [429, 503])
async def test_an_endpoint_that_says_when_is_called_then(hook, status):
    """It spends no attempt, and never waits over an hour."""
    hook.return_value = httpx.Response(status, headers={"retry-after": "120"})
    outcome = await call()
    assert isinstance(outcome, Deferred)
    assert (120.0, status) == (outcome.after_seconds, (outcome.http or {})["status"])
    assert "Retry-After: 120" in outcome.reason
    hook.return_value = httpx.Response(status, headers={"retry-after": "Fri, 22 Nov 2199 12:00:00 GMT"})
    outcome = await call()
    assert isinstance(outcome, Deferred)
    assert 3600 == outcome.after_seconds
    hook.return_value = httpx.Response(status, headers={"retry-after": "0" * 60_000})
    outcome = await call()
    assert isinstance(outcome, Deferred)
    assert len(outcome.reason) < 300


async def test_a_redirect_is_not_followed_and_says_where_it_led(hook):
    """A token in a header never goes to another host."""
    hook.return_value = httpx.Response(302, headers={"location": "http://elsewhere.test/"})
    outcome = await call()
    assert isinstance(outcome, Failed)
    assert not outcome.retry
    assert "redirect to http://elsewhere.test/: redirects are not followed" in outcome.error["message"]
    assert 1 == hook.call_count


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (
            {"type": "CardDeclined", "message": "no money", "traceback": "line 1"},
            {"type": "CardDeclined", "message": "no money", "traceback": "line 1"},
        ),
        (
            {"name": "TypeError", "message": "x is undefined", "stack": "at f (a.js:1)"},
            {"type": "TypeError", "message": "x is undefined", "traceback": "at f (a.js:1)"},
        ),
        ({"error": {"message": "deep"}}, {"type": "HttpStatus500", "message": "deep", "traceback": None}),
        (
            {"type": "about:blank", "title": "Oh no", "detail": "what and why"},
            {"type": "HttpStatus500", "message": "what and why", "traceback": None},
        ),
        (
            {"message": 5},
            {
                "type": "HttpStatus500",
                "message": f'{PLACE} answered 500 Internal Server Error: {{"message":5}}',
                "traceback": None,
            },
        ),
        (
            ["x"],
            {
                "type": "HttpStatus500",
                "message": f'{PLACE} answered 500 Internal Server Error: ["x"]',
                "traceback": None,
            },
        ),
    ],
)
async def test_an_endpoint_can_tell_its_own_error(hook, body, expected):
    """Type, message and traceback of a JSON body read as if a handler had raised them."""
    hook.return_value = httpx.Response(500, json=body)
    outcome = await call()
    assert isinstance(outcome, Failed)
    assert expected == outcome.error


async def test_any_other_body_of_a_failure_is_shown_in_part(hook):
    """An HTML page is cut, and its lines joined."""
    hook.return_value = httpx.Response(502, html="<h1>Bad\n   gateway</h1>" + "x" * 50_000)
    outcome = await call()
    assert isinstance(outcome, Failed)
    assert f"{PLACE} answered 502 Bad Gateway: <h1>Bad gateway</h1>" in outcome.error["message"]
    assert len(outcome.error["message"]) < 1200


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", gzip.compress(b'{"a":1}', mtime=0)),
        ("x-gzip", gzip.compress(b'{"a":1}', mtime=0)),
        ("deflate", zlib.compress(b'{"a":1}')),
        ("deflate", zlib.compress(b'{"a":1}')[2:-4]),
        ("identity", b'{"a":1}'),
    ],
)
async def test_a_compressed_answer_is_read_although_not_asked_for(hook, encoding, body):
    """Some servers compress whatever the request says."""
    hook.return_value = httpx.Response(
        200, stream=httpx.ByteStream(body), headers={"content-encoding": encoding, "content-type": "application/json"}
    )
    outcome = await call()
    assert isinstance(outcome, Succeeded)
    assert b'{"a":1}' == outcome.result_json


@pytest.mark.parametrize(
    ("encoding", "body", "type_"),
    [
        ("gzip", gzip.compress(b"x" * 500_000, mtime=0), "ResponseTooLarge"),
        ("gzip", b"no gzip at all", "InvalidResponse"),
        ("gzip", gzip.compress(b"x", mtime=0)[:-9], "InvalidResponse"),
        ("br", b"abc", "InvalidResponse"),
        ("identity", b"x" * 1001, "ResponseTooLarge"),
        ("identity", b"\xff" * 1000, "ResponseTooLarge"),
    ],
)
def test_an_answer_that_cannot_be_kept_fails_for_good(encoding, body, type_):
    """A bomb is not unpacked, and what was done is not done again only because its answer is too large."""
    answer = Answer(200, httpx.Headers({"content-encoding": encoding}), body[:1000], len(body) <= 1000, PLACE)
    outcome = outcome_of(answer, 1000, datetime.now(UTC))
    assert isinstance(outcome, Failed)
    assert (type_, False, 200) == (outcome.error["type"], outcome.retry, (outcome.http or {})["status"])
    assert PLACE in outcome.error["message"]


async def test_the_request_is_the_submissions(hook):
    """Method, headers and body as asked; JSON unless said otherwise."""
    hook.return_value = httpx.Response(200)
    await call(method="PUT", headers={"X-Tenant": "acme"}, body={"invoice": 4711})
    request = hook.calls.last.request
    assert ("PUT", b'{"invoice":4711}') == (request.method, request.content)
    assert {
        "x-tenant": "acme",
        "content-type": "application/json",
        "webhook-id": encode_id(bytes(16)),
        "taskpost-max-attempts": "4",
        "accept-encoding": "identity",
    }.items() <= dict(request.headers).items()


async def test_a_submission_that_is_no_request_fails_for_good(hook):
    """What slipped through at submit is not retried for ever."""
    outcome = await call(headers={"Host": "x"})
    assert isinstance(outcome, Failed)
    assert ("UnusableRequest", False) == (outcome.error["type"], outcome.retry)
    assert "'Host' is set by Taskpost" in outcome.error["message"]
    assert not hook.called


async def test_a_stop_breaks_the_call_off(hook):
    """A cancelled task does not wait for its endpoint."""
    called = asyncio.Event()

    async def hang(_request):
        called.set()
        await asyncio.Event().wait()

    hook.side_effect = hang
    ctx = Context(id="1")
    pending = asyncio.create_task(call(ctx))
    await called.wait()
    ctx.stop(Cancelled("asked"))
    assert Cancelled("asked") == await pending


async def test_a_call_that_was_stopped_before_it_began_is_not_made(hook):
    """Nothing is sent for a task that was cancelled in time."""
    ctx = Context(id="1")
    ctx.stop(Cancelled("asked"))
    assert Cancelled("asked") == await call(ctx)
    assert not hook.called


async def test_the_callers_own_cancel_goes_through(hook):
    """The runtime's cancel is no outcome."""
    called = asyncio.Event()

    async def hang(_request):
        called.set()
        await asyncio.Event().wait()

    hook.side_effect = hang
    pending = asyncio.create_task(call(Context(id="1")))
    await called.wait()
    pending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await pending
