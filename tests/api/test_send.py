"""`/v1/send/{url}` over HTTP."""

from __future__ import annotations

import pytest

from tests.api.serving import Serving, serving

HOOK = "/v1/send/https://hooks.example.com/in"


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_a_request_becomes_a_task_with_its_own_method(api: Serving, method: str) -> None:
    """The answer is that of a submission, and reads the same."""
    answer = await api.http.request(method, HOOK + "?a=1", content=b"<a/>", headers={"Content-Type": "text/xml"})
    assert 201 == answer.status_code, answer.text
    task = answer.json()
    assert (method, "https://hooks.example.com/in?a=1", "<a/>") == (task["method"], task["url"], task["body_text"])
    assert "text/xml" == task["headers"]["content-type"]
    assert task == await api.read(task["id"])


async def test_options_and_preferences_apply(api: Serving) -> None:
    """A key makes it once, a wait waits."""
    given = {"Taskpost-Delay-Seconds": "60", "Taskpost-Queue": "hooks", "Idempotency-Key": "d-1", "Prefer": "wait=1"}
    first = await api.http.post(HOOK, headers=given)
    again = await api.http.post(HOOK, headers=given)
    assert (202, "scheduled", "hooks") == (first.status_code, first.json()["state"], first.json()["queue"])
    assert first.json()["id"] == again.json()["id"]
    assert "true" == again.headers["idempotent-replayed"]


@pytest.mark.parametrize(
    ("path", "headers", "status", "where"),
    [
        (HOOK, {"Taskpost-Retries": "-1"}, 422, "/retries"),
        (HOOK, {"Taskpost-Retries": "x"}, 422, "taskpost-retries"),
        (HOOK, {"Taskpost-Method": "TRACE"}, 422, "/method"),
        (HOOK, {"Taskpost-Header-Host": "x"}, 422, "/headers/host"),
        ("/v1/send/ftp://example.com", {}, 422, "/url"),
        ("/v1/send/https://u:p@example.com", {}, 422, "/url"),
        ("/v1/send/", {}, 422, "/url"),
    ],
)
async def test_what_cannot_be_passed_on_is_refused(api: Serving, path, headers, status, where) -> None:
    """With the place of the fault; nothing is stored."""
    answer = await api.http.post(path, headers=headers)
    assert status == answer.status_code, answer.text
    assert where in [fault.get("pointer") or fault.get("header") for fault in answer.json()["errors"]]
    assert [] == (await api.http.get("/v1/tasks")).json()["items"]


async def test_other_methods_are_not_offered(api: Serving) -> None:
    """A link that is followed sends nothing."""
    answer = await api.http.get(HOOK)
    assert 405 == answer.status_code
    assert "DELETE, PATCH, POST, PUT" == answer.headers["allow"]


async def test_bodies_have_a_bound(redis_url: str) -> None:
    """That of every body."""
    async with serving(redis_url, max_body_bytes=2000) as api:
        assert 413 == (await api.http.post(HOOK, content=b"x" * 2001)).status_code


async def test_the_key_may_come_in_the_query(redis_url: str) -> None:
    """And then neither it nor anything of ours is passed on, while the sender's own Authorization is."""
    async with serving(redis_url, api_key="tp_secret") as api:
        assert 401 == (await api.http.post(HOOK)).status_code
        assert 401 == (await api.http.post(HOOK + "?taskpost-key=wrong")).status_code
        by_query = await api.http.post(HOOK + "?taskpost-key=tp_secret", headers={"Authorization": "Bearer theirs"})
        by_header = await api.http.post(HOOK, headers={"Authorization": "Bearer tp_secret"})
        assert (201, 201) == (by_query.status_code, by_header.status_code)
        assert "tp_secret" not in by_query.text + by_header.text
        assert "[hidden]" == by_query.json()["headers"]["authorization"]
