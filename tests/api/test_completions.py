"""What endpoints say at the completion URL, over HTTP."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import orjson
import pytest

from service.client import AsyncCompletion, Completion, StateConflict, later
from service.completion import token_of
from service.ids import decode_id, encode_id
from service.store import Store
from service.store.decisions import HandOver, report_of
from service.task import Leased, options_of
from tests.api.serving import Serving, serving
from tests.store.acting import Worker

URL = "https://hooks.example.com/reports"


async def taken_over(api: Serving, worker: Worker, **submission: Any) -> tuple[Leased, str]:
    """(task, beginning of its completion URL) of a task that its endpoint holds."""
    await api.submitted({"url": URL, **submission})
    [task] = await worker.lease(lane="url")
    store = worker.store
    options = options_of({}, None, store.settings)
    report = report_of(task, HandOver(60_000, 4_000_000_000_000), options, store.settings, "w1", 0)
    assert b"1" == await worker.report([task], [report])
    return task, f"/v1/completions/{token_of(await store.completions.secret.get(), task.id, task.token)}"


async def said(api: Serving, place: str, **given: Any) -> Any:
    """The answer to a POST, which must be a success."""
    answer = await api.http.post(place, **given)
    assert 200 == answer.status_code, answer.text
    return answer.json()


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"json": {"result": {"pages": 12}}}, {"pages": 12}),
        ({"json": {"result": None}}, None),
        ({"json": {"pages": 12}}, {"pages": 12}),
        ({"json": {"result": 1, "more": 2}}, {"result": 1, "more": 2}),
        ({"json": [1]}, [1]),
        ({"content": "Grüße".encode(), "headers": {"Content-Type": "text/plain"}}, "Grüße"),
        (
            {"content": b"\xff", "headers": {"Content-Type": "image/png"}},
            {"base64": "/w==", "content_type": "image/png"},
        ),
        ({}, None),
    ],
)
async def test_what_is_posted_is_the_result(api: Serving, worker: Worker, given: Any, expected: Any) -> None:
    """Under `result` where that is all there is, else as it is; and the same again answers the same."""
    task, place = await taken_over(api, worker)
    for _ in range(2):
        assert {"cancel": False} == await said(api, f"{place}/complete", **given)
    done = await api.read(encode_id(task.id))
    assert ("succeeded", expected) == (done["state"], done["result"])


@pytest.mark.parametrize("lines", [[], [{"message": "page 5 is blank"}]])
async def test_the_attempt_says_what_the_call_was_answered(api: Serving, worker: Worker, lines: list[Any]) -> None:
    """Whether or not the endpoint has logged something meanwhile."""
    task, place = await taken_over(api, worker)
    if lines:
        await said(api, f"{place}/log", json={"lines": lines})
    await said(api, f"{place}/complete")
    [attempt] = (await api.http.get(f"/v1/tasks/{encode_id(task.id)}/attempts")).json()["items"]
    assert ("succeeded", {"status": 202}) == (attempt["outcome"], attempt["http"])
    assert [one["message"] for one in lines] == [one["message"] for one in attempt["log"]]


async def test_an_error_shows_as_if_it_had_been_raised(api: Serving, worker: Worker) -> None:
    """In the words of JavaScript here; it says itself that another attempt would not help."""
    task, place = await taken_over(api, worker)
    error = {"name": "CardDeclined", "message": "no", "stack": "at charge (pay.js:12)", "code": 7, "retry": False}
    assert {"cancel": False} == await said(api, f"{place}/fail", json=error)
    failed = await api.read(encode_id(task.id))
    assert "failed" == failed["state"]
    assert {"type": "CardDeclined", "message": "no", "traceback": "at charge (pay.js:12)"} == failed["error"]
    attempts = (await api.http.get(f"/v1/tasks/{encode_id(task.id)}/attempts")).json()["items"]
    assert [("failed", {"status": 202})] == [(one["outcome"], one["http"]) for one in attempts]


async def test_a_failure_without_words_is_retried_by_the_backoff(api: Serving, worker: Worker) -> None:
    """Nothing needs to be said; `after_seconds` has the last word on when."""
    for given, expected in (({}, 60), ({"json": {"after_seconds": 7}}, 7)):
        task, place = await taken_over(api, worker, backoff={"delays_seconds": [60]})
        await said(api, f"{place}/fail", **given)
        [attempt] = (await api.http.get(f"/v1/tasks/{encode_id(task.id)}/attempts")).json()["items"]
        assert ("retried", "Failed") == (attempt["outcome"], attempt["error"]["type"])
        snapshot = (await worker.store.tasks.read([task.id]))[0]
        assert snapshot is not None
        assert abs(snapshot.record.time_ms - snapshot.now_ms - expected * 1000) < 5000


async def test_it_can_ask_to_be_called_later(api: Serving, worker: Worker) -> None:
    """Which counts nothing."""
    task, place = await taken_over(api, worker, retries=0)
    await said(api, f"{place}/defer", json={"after_seconds": 60, "reason": "the bank is closed"})
    waiting = await api.read(encode_id(task.id))
    assert ("scheduled", 0) == (waiting["state"], waiting["attempt"])


async def test_progress_and_log_are_shown_while_it_runs(api: Serving, worker: Worker) -> None:
    """Lines that carry their number are kept once, however often they are sent."""
    task, place = await taken_over(api, worker)
    text = encode_id(task.id)
    assert {"cancel": False} == await said(
        api, f"{place}/progress", json={"current": 4, "total": 12, "message": "p. 4"}
    )
    lines = [{"level": "warning", "message": "page 5 is blank"}, {"message": "done"}]
    for _ in range(2):
        assert {"cancel": False} == await said(api, f"{place}/log", json={"lines": lines, "first": 0})
    await said(api, f"{place}/log", json={"lines": [{"message": "more"}]})
    shown = await api.read(text)
    assert ("running", 4, 12, "p. 4") == (
        shown["state"],
        *(shown["progress"][n] for n in ("current", "total", "message")),
    )
    [attempt] = (await api.http.get(f"/v1/tasks/{text}/attempts")).json()["items"]
    told = [(line["level"], line["message"]) for line in attempt["log"]]
    assert [("warning", "page 5 is blank"), ("info", "done"), ("info", "more")] == told


async def test_an_endpoint_hears_that_its_task_is_to_be_cancelled(api: Serving, worker: Worker) -> None:
    """With whatever it says; what it does then ends it."""
    task, place = await taken_over(api, worker)
    assert {"cancel": False} == await said(api, f"{place}/heartbeat")
    assert 202 == (await api.http.post(f"/v1/tasks/{encode_id(task.id)}/cancel")).status_code
    assert {"cancel": True} == await said(api, f"{place}/heartbeat")
    assert {"cancel": True} == await said(api, f"{place}/progress", json={"current": 1})
    assert {"cancel": False} == await said(api, f"{place}/fail")
    assert "cancelled" == (await api.read(encode_id(task.id)))["state"]


@pytest.mark.parametrize(
    ("action", "given"),
    [
        ("complete", {}),
        ("fail", {}),
        ("defer", {"json": {"after_seconds": 1}}),
        ("heartbeat", {}),
        ("progress", {"json": {"current": 1}}),
        ("log", {"json": {"lines": [{"message": "x"}]}}),
    ],
)
async def test_a_token_is_good_for_its_attempt_only(api: Serving, worker: Worker, action: str, given: Any) -> None:
    """Over: 409. Made up: 404. And no key is asked for, since the token is one."""
    _, place = await taken_over(api, worker)
    await said(api, f"{place}/complete" if action != "complete" else f"{place}/fail")
    late = await api.http.post(f"{place}/{action}", **given)
    assert (409, "/problems/lease-lost") == (late.status_code, late.json()["type"])
    made_up = place[:-1] + ("A" if place[-1] != "A" else "B")
    for wrong in (made_up, "/v1/completions/x", f"/v1/completions/{'A' * 60}"):
        forged = await api.http.post(f"{wrong}/{action}", **given)
        assert (404, "/problems/not-found") == (forged.status_code, forged.json()["type"])


async def test_no_key_is_asked_for(store: Store, worker: Worker, redis_url: str) -> None:
    """The token in the path is the key; everything else still asks for one."""
    async with serving(redis_url, api_key="k") as api:
        headers = {"Authorization": "Bearer k"}
        answer = await api.post({"url": URL}, headers=headers)
        [task] = await worker.lease(lane="url")
        assert decode_id(answer.json()["id"]) == task.id
        token = token_of(await store.completions.secret.get(), task.id, task.token)
        assert {"cancel": False} == await said(api, f"/v1/completions/{token}/complete", json=1)
        assert 401 == (await api.http.get(f"/v1/tasks/{answer.json()['id']}")).status_code


@pytest.mark.parametrize(
    ("action", "given", "status"),
    [
        ("complete", {"content": b"x" * 2000}, 413),
        ("complete", {"content": b"{broken", "headers": {"Content-Type": "application/json"}}, 400),
        ("defer", {"json": {}}, 422),
        ("defer", {}, 400),
        ("fail", {"json": {"after_seconds": -1}}, 422),
        ("fail", {"json": []}, 422),
        ("progress", {"json": {"current": "4"}}, 422),
        ("progress", {"content": b"current=4", "headers": {"Content-Type": "text/plain"}}, 415),
        ("log", {"json": {"lines": []}}, 422),
        ("log", {"json": {"lines": [{"level": "shout", "message": "x"}]}}, 422),
    ],
)
async def test_what_cannot_be_read_ends_nothing(
    store: Store, worker: Worker, redis_url: str, action: str, given: Any, status: int
) -> None:
    """The endpoint is told what is wrong, and its attempt goes on."""
    async with serving(redis_url, max_result_bytes=1024) as api:
        task, place = await taken_over(api, worker)
        answer = await api.http.post(f"{place}/{action}", **given)
        assert status == answer.status_code, answer.text
        assert "running" == (await api.read(encode_id(task.id)))["state"]


async def test_of_many_at_once_one_ends_it(api: Serving, worker: Worker) -> None:
    """The same call answers the same to all; others come too late."""
    task, place = await taken_over(api, worker)
    calls = [api.http.post(f"{place}/{action}") for action in ("complete", "fail") * 5]
    answers: list[httpx.Response] = await asyncio.gather(*calls)
    statuses = {action: {one.status_code for one in answers[n::2]} for n, action in enumerate(("complete", "fail"))}
    assert [{200}, {409}] == sorted(statuses.values(), key=sorted)
    assert (await api.read(encode_id(task.id)))["state"] in ("succeeded", "scheduled")


async def test_a_python_endpoint_speaks_through_the_client(api: Serving, worker: Worker) -> None:
    """What it says is kept; when the attempt is over, heartbeats say stop and endings say that they came too late."""
    task, place = await taken_over(api, worker)
    async with AsyncCompletion(f"http://127.0.0.1:{api.port}{place}") as completion:
        assert not await completion.heartbeat()
        assert not await completion.progress(4, 12, "page 4")
        assert not await completion.log("page 5 is blank", "warning")
        await completion.complete({"pages": 12})
        await completion.complete({"pages": 12})
        assert await completion.heartbeat()
        with pytest.raises(StateConflict, match="this attempt is over"):
            await completion.fail("too late")
    assert {"pages": 12} == (await api.read(encode_id(task.id)))["result"]
    task, place = await taken_over(api, worker)
    async with AsyncCompletion(f"http://127.0.0.1:{api.port}{place}") as completion:
        await completion.fail("tray 2", kind="PaperJam", traceback="at print", retry=False)
    error = {"type": "PaperJam", "message": "tray 2", "traceback": "at print"}
    assert error == (await api.read(encode_id(task.id)))["error"]


def test_the_blocking_client_says_the_same() -> None:
    """The same requests, without a key; another URL is refused at once."""
    sent: list[tuple[str, str, Any]] = []

    def hear(request: httpx.Request) -> httpx.Response:
        assert "authorization" not in request.headers
        sent.append((str(request.url).removeprefix("https://t.example/x/v1/completions/k/"), request.method,
                     orjson.loads(request.content)))  # fmt: skip
        return httpx.Response(200, json={"cancel": "heartbeat" in str(request.url)})

    transport = httpx.MockTransport(hear)
    with Completion("https://t.example/x/v1/completions/k", transport=transport) as completion:
        assert completion.heartbeat()
        assert not completion.progress(1)
        assert not completion.log("x")
        completion.defer(60, "later")
        completion.fail("no", retry=True, after_seconds=5)
        completion.complete(7)
    failure = {"type": "Failed", "message": "no", "retry": True, "after_seconds": 5}
    assert [
        ("heartbeat", "POST", {}),
        ("progress", "POST", {"current": 1}),
        ("log", "POST", {"lines": [{"level": "info", "message": "x"}]}),
        ("defer", "POST", {"after_seconds": 60, "reason": "later"}),
        ("fail", "POST", failure),
        ("complete", "POST", {"result": 7}),
    ] == sent
    assert {"Taskpost-Async": "1", "Taskpost-Heartbeat": "300"} == later(300)
    with pytest.raises(ValueError, match="is not a completion URL"):
        Completion("https://t.example/")
