"""`POST /v1/tasks`: what is taken in, and what is answered."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from service.api.waits import preferred_wait
from service.ids import decode_id
from service.store import Store
from tests.api.serving import ADD, Serving, handler, publish
from tests.store.acting import Worker, snapshot

pytestmark = pytest.mark.both_servers

URL = {"url": "https://hooks.example.com/in", "headers": {"X-Tenant": "acme"}, "body": {"n": 1}}
SOON = (datetime.now(UTC) + timedelta(days=30)).isoformat()


@pytest.mark.parametrize(
    "submission",
    [
        ADD,
        {**ADD, "args": {"a": 2.0, "b": 3}},
        {"url": "http://127.0.0.1:1/"},
        URL,
        {**URL, "body": None, "method": "PUT", "callback": {"url": "https://a.example", "on": ["failed"]}},
        {**URL, "callback": {"url": "https://a.example", "headers": {"A": "b"}}},
        {**ADD, "queue": "mail", "priority": 9, "tags": ["a"], "metadata": {"n": [1, None]}},
        {**ADD, "priority": 7.0, "retries": 5.0, "max_crashes": 0},
        {**ADD, "delay_seconds": 0},
        {**ADD, "delay_seconds": 0.0001},
        {**ADD, "delay_seconds": 3600.5},
        {**ADD, "run_at": SOON},
        {**ADD, "run_at": "2020-01-01T00:00:00+01:00"},
        {**ADD, "run_at": "1930-01-01T00:00:00Z"},
        {**ADD, "run_at": "0000-01-01T00:00:00Z"},
        {**ADD, "run_at": "2016-12-31T23:59:60Z"},
        {**ADD, "run_at": "2020-02-02t02:02:02.123456789z"},
        {**ADD, "expires_in_seconds": 60},
        {**ADD, "unique": {}},
        {**ADD, "unique": {"by": ["a"], "until": "started"}},
        {**ADD, "debounce": {"seconds": 5.5, "edge": "trailing"}, "expires_in_seconds": 60},
        {**ADD, "debounce": {"key": "k", "seconds": 5, "max_wait_seconds": 60, "edge": "leading"}},
        {**ADD, "expires_at": SOON, "delay_seconds": 10},
        {**ADD, "timeout_seconds": 0.25, "soft_timeout_seconds": 0.2, "retry_for_seconds": 0, "retries": 0},
        {**ADD, "backoff": {"delays_seconds": [1, 5, 30]}},
        {**ADD, "backoff": {"kind": "linear", "base_seconds": 2, "jitter": "none"}},
        {**ADD, "idempotency_key": "k-1", "result_ttl_seconds": 0},
        {**ADD, "metadata": {"big": 2**64 - 1, "small": -(2**63), "digits": "9" * 40, "float": 1e300}},
    ],
)
async def test_answer_of_a_submission_is_the_task_as_it_reads(api: Serving, submission: dict[str, Any]) -> None:
    """What POST answers and what GET answers a moment later are the same in every field."""
    answer = await api.post(submission)
    assert 201 == answer.status_code, answer.text
    task = answer.json()
    assert f"/v1/tasks/{task['id']}" == answer.headers["location"]
    assert await api.read(task["id"]) == task


async def test_task_has_the_defaults_of_handler_and_settings(api: Serving, store: Store) -> None:
    """What a submission leaves out comes from its handler, and what that leaves out from the settings."""
    handler = {"name": "h", "lane": "thread", "queue": "q", "args_schema": {}, "retries": 9, "max_crashes": 1}
    await publish(store, [handler])
    task = await api.submitted({"name": "h"})
    expected = {"lane": "thread", "queue": "q", "retries": 9, "max_crashes": 1, "timeout_seconds": 1800, "args": {}}
    assert expected == {name: task[name] for name in expected}
    assert 1 == (await snapshot(store, decode_id(task["id"]))).record.max_crashes
    own = await api.submitted({"name": "h", "queue": "mine", "retries": 0})
    assert ("mine", 0) == (own["queue"], own["retries"])


async def test_url_tasks_have_their_own_time_limit_and_lane(api: Serving) -> None:
    """Thirty seconds unless it says otherwise."""
    task = await api.submitted(URL)
    assert ("url", 30, "POST") == (task["lane"], task["timeout_seconds"], task["method"])


async def test_delay_is_scheduled_and_past_time_is_now(api: Serving) -> None:
    """A delay counts from the moment of storing; a time that has passed means at once."""
    later = await api.submitted({**ADD, "delay_seconds": 60})
    assert "scheduled" == later["state"]
    passed = await api.submitted({**ADD, "run_at": "2020-01-01T00:00:00Z"})
    assert ("queued", "2020-01-01T00:00:00.000Z") == (passed["state"], passed["run_at"])


async def test_stored_submission_is_what_was_sent(api: Serving, store: Store) -> None:
    """Nothing of the user's object is lost or rounded, and nothing is added."""
    submission = {**ADD, "queue": "mail", "priority": 1, "metadata": {"n": 2**63, "text": "é\u0000"}}
    task = await api.submitted(submission)
    record = (await snapshot(store, decode_id(task["id"]))).record
    assert {**ADD, "metadata": submission["metadata"]} == record.submission
    assert ("mail", 1) == (record.queue, record.priority)


@pytest.mark.parametrize("media_type", ["application/json; charset=utf-8", "application/vnd.acme+json", None])
async def test_json_is_taken_under_any_of_its_names(api: Serving, media_type: str | None) -> None:
    """A client that says nothing, or says +json, is understood."""
    headers = {"content-type": media_type} if media_type else {}
    request = api.http.build_request("POST", "/v1/tasks", content=b'{"url": "http://a.example"}', headers=headers)
    assert 201 == (await api.http.send(request)).status_code


async def test_body_that_comes_in_pieces_is_taken(api: Serving) -> None:
    """Chunked bodies are read to their end."""

    async def pieces() -> Any:
        for part in (b'{"url": "http://a', b".example", b'"}'):
            yield part

    assert 201 == (await api.http.post("/v1/tasks", content=pieces())).status_code


# ---------------------------------------------------------------- idempotency


async def test_same_key_answers_the_same_task(api: Serving, worker: Worker) -> None:
    """A submission that is sent again runs once, and reads as it stands now."""
    headers = {"Idempotency-Key": '"order-1"'}
    first = await api.submitted(ADD, headers=headers)
    again = await api.post(ADD, headers=headers)
    assert (200, "true") == (again.status_code, again.headers["idempotent-replayed"])
    assert first == again.json()
    await worker.succeed(*await worker.lease())
    bare = await api.post({**ADD, "idempotency_key": "order-1"})
    assert ("succeeded", first["id"]) == (bare.json()["state"], bare.json()["id"])
    assert 1 == len((await api.http.get("/v1/tasks")).json()["items"])


async def test_order_of_fields_does_not_make_another_submission(api: Serving) -> None:
    """The same object written another way is the same."""
    first = await api.submitted({"name": "demo.add", "args": {"a": 1, "b": 2}, "idempotency_key": "k"})
    again = await api.post({"idempotency_key": "k", "args": {"b": 2, "a": 1}, "name": "demo.add"})
    assert (200, first["id"]) == (again.status_code, again.json()["id"])


async def test_same_key_with_another_submission_is_refused(api: Serving) -> None:
    """A key that was used for something else is a fault of the client, and says so."""
    await api.submitted({**ADD, "idempotency_key": "k"})
    answer = await api.post({"name": "demo.add", "args": {"a": 1, "b": 1}, "idempotency_key": "k"})
    assert (422, "/problems/idempotency-mismatch") == (answer.status_code, answer.json()["type"])


async def test_requests_with_one_key_at_once_make_one_task(api: Serving) -> None:
    """Twenty that race get one task."""
    answers = await asyncio.gather(*(api.post({**ADD, "idempotency_key": "race"}) for _ in range(20)))
    assert 1 == len({answer.json()["id"] for answer in answers})
    assert [200] * 19 + [201] == sorted(answer.status_code for answer in answers)


# ---------------------------------------------------------------- waiting


async def test_prefer_wait_answers_with_the_end(api: Serving, worker: Worker) -> None:
    """One request submits and brings the result."""
    asking = asyncio.create_task(api.post(ADD, headers={"Prefer": "respond-async, wait=25"}))
    while not (leased := await worker.lease()):
        await asyncio.sleep(0.005)
    await worker.succeed(*leased)
    answer = await asking
    assert (200, "wait=25") == (answer.status_code, answer.headers["preference-applied"])
    assert ("succeeded", 5) == (answer.json()["state"], answer.json()["result"])


async def test_prefer_wait_gives_up_in_time(api: Serving) -> None:
    """When the task has not ended, it is shown as it is, with 202."""
    answer = await api.post({**ADD, "delay_seconds": 60}, headers={"Prefer": "wait=1"})
    assert (202, "scheduled", "wait=1") == (
        answer.status_code,
        answer.json()["state"],
        answer.headers["preference-applied"],
    )


@pytest.mark.parametrize(
    ("prefer", "seconds"),
    [
        (b"wait=10", 10),
        (b"wait=100", 25),
        (b"respond-async, WAIT = 3", 3),
        (b'wait="4"', 4),
        (b"wait=5; x=y", 5),
        (b"wait=-1", 0),
        (b"wait=soon", 0),
        (b"wait=1.5", 0),
        (b"handling=lenient", 0),
        (b"wait=99999999999999999999", 0),
        (b"", 0),
    ],
)
def test_preferences_are_read_as_rfc_7240_writes_them(prefer: bytes, seconds: int) -> None:
    """What is not understood is ignored."""
    assert seconds == preferred_wait(prefer)


# ---------------------------------------------------------------- handlers


async def test_handler_that_was_published_just_now_is_known(api: Serving, store: Store) -> None:
    """A worker's new handler can be used at once, not when a cache has run out."""
    assert 201 == (await api.post(ADD)).status_code
    await publish(store, [{"name": "brand.new", "lane": "async", "queue": "default", "args_schema": {}}])
    assert "brand.new" == (await api.submitted({"name": "brand.new"}))["name"]


@pytest.mark.parametrize("path", ["/v1/tasks", "/v1/tasks/batch"])
async def test_arguments_that_were_published_just_now_fit(api: Serving, store: Store, path: str) -> None:
    """Arguments are not refused by what a handler was some seconds ago; nor is a refusal any slower for it."""
    assert 201 == (await api.post(ADD)).status_code
    await publish(store, [handler("demo.add", c="integer")])
    known = api.api.runtime.handlers
    known.book.read_at = known.tried_at = float("-inf")  # some seconds later
    submission = {"name": "demo.add", "args": {"c": 1}}
    answer = (await api.http.post(path, json=[submission] if "batch" in path else submission)).json()
    assert "queued" == (answer[0]["task"] if "batch" in path else answer)["state"]
    refused = await api.http.post("/v1/tasks", json=ADD)
    assert (422, "/problems/invalid-arguments") == (refused.status_code, refused.json()["type"])


async def test_handler_with_a_schema_that_cannot_be_read_takes_anything(api: Serving, store: Store) -> None:
    """The worker will check; the API does not turn everything away."""
    broken = {"name": "odd", "lane": "async", "queue": "default", "args_schema": {"type": "nonsense"}}
    await publish(store, [broken])
    await api.submitted({"name": "odd", "args": {"x": 1}})
