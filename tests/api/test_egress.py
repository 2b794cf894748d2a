"""URLs that nobody may call are refused when they are submitted, each with the name of the rule."""

from __future__ import annotations

from typing import Any

import pytest

from service.store import Store
from tests.api.serving import ADD, Serving, serving

INNER = "http://10.0.0.1/"


def faults(answer: Any) -> list[tuple[str, str]]:
    """(pointer, reason) of each fault of a refused submission."""
    assert (422, "/problems/invalid-submission") == (answer.status_code, answer.json()["type"]), answer.text
    assert all(fault["detail"] for fault in answer.json()["errors"])
    return sorted((fault["pointer"], fault.get("reason", "")) for fault in answer.json()["errors"])


@pytest.mark.parametrize(
    ("submission", "expected"),
    [
        ({"url": INNER}, [("/url", "private")]),
        ({"url": "http://[::ffff:10.0.0.1]/"}, [("/url", "private")]),
        ({"url": "http://169.254.169.254/latest"}, [("/url", "metadata")]),
        ({"url": "http://metadata.google.internal/"}, [("/url", "metadata")]),
        ({"url": "http://2130706433/"}, [("/url", "odd-host")]),
        ({"url": "http://a.example:22/"}, [("/url", "bad-port")]),
        ({"url": "http://u:p@127.1:99999/"}, [("/url", "odd-host"), ("/url", "port"), ("/url", "userinfo")]),
        ({"url": "ftp://a.example/"}, [("/url", "scheme")]),
        ({"url": "http://bücher.example/"}, [("/url", "not-ascii")]),
        ({"url": "http://a.example/\r\nX: y"}, [("/url", "control-character")]),
        ({**ADD, "callback": {"url": INNER}}, [("/callback/url", "private")]),
        ({"url": "http://a.example/", "cancel_url": INNER}, [("/cancel_url", "private")]),
        (
            {**ADD, "callback": {"url": "http://127.1/", "on": ["no"]}},
            [("/callback/on/0", ""), ("/callback/url", "odd-host")],
        ),
        ({"url": INNER, "callback": {"url": "http://[::1/"}}, [("/callback/url", "odd-host"), ("/url", "private")]),
        ({"url": INNER, "name": "demo.add"}, [("/url", ""), ("/url", "private")]),
        ({"url": INNER, "priority": 10}, [("/priority", ""), ("/url", "private")]),
        ({"url": 5}, [("/url", "")]),
        ({"url": "http://a.example/" + "x" * 2048}, [("/url", "")]),
        ({"url": "http://a.example", "headers": {"Taskpost-Attempt": "1"}}, [("/headers/Taskpost-Attempt", "")]),
    ],
)
async def test_a_url_that_nobody_may_call_is_refused(
    api: Serving, submission: dict[str, Any], expected: list[tuple[str, str]]
) -> None:
    """In the task and in its callback, all faults at once."""
    assert expected == faults(await api.post(submission))


async def test_a_batch_and_a_stream_refuse_them_too(api: Serving) -> None:
    """Each by itself; the others are taken."""
    receipts = (await api.http.post("/v1/tasks/batch", json=[{"url": INNER}, {"url": "http://a.example"}])).json()
    assert [422, 201] == [one["status"] for one in receipts]
    lines = b'{"url": "http://10.0.0.1/"}\n{"url": "http://a.example"}\n'
    answer = await api.http.post(
        "/v1/tasks/stream", content=lines, headers={"content-type": "application/x-ndjson"}
    )
    assert ['"status":422' in line for line in answer.text.splitlines()] == [True, False], answer.text


async def test_what_is_to_be_passed_on_is_judged_as_well(api: Serving) -> None:
    """The URL behind /v1/send/ is a URL that a user gave."""
    for url, reason in ((INNER, "private"), ("http://127.1/", "odd-host"), ("http://a@b.example/", "userinfo")):
        assert [("/url", reason)] == faults(await api.http.post(f"/v1/send/{url}", content=b"x"))


async def test_what_a_schedule_calls_is_judged_when_it_is_made(api: Serving) -> None:
    """Not at night, when it fires."""
    given = {"cron": "0 * * * *", "task": {"url": INNER, "callback": {"url": "http://127.1/"}}}
    answer = await api.http.put("/v1/schedules/s1", json=given)
    assert 422 == answer.status_code, answer.text
    found = sorted((fault["pointer"], fault.get("reason", "")) for fault in answer.json()["errors"])
    assert [("/task/callback/url", "odd-host"), ("/task/url", "private")] == found


async def test_where_tokens_are_fetched_is_judged_as_well(api: Serving) -> None:
    """Credentials name a URL too."""
    auth = {"kind": "oauth2_client_credentials", "client_id": "a", "client_secret": "b", "token_url": INNER}
    answer = await api.http.put("/v1/endpoints/https:a.example/auth", json=auth)
    assert [("/token_url", "private")] == faults(answer)


async def test_the_settings_decide_what_may_be_called(store: Store, redis_url: str) -> None:
    """Loopback only in development mode; inner networks when allowed; our own Redis never."""
    async with serving(redis_url, dev=False, egress_allow="10.0.0.0/8, *.internal", egress_deny="10.0.0.7") as api:
        assert [("/url", "loopback")] == faults(await api.post({"url": "http://127.0.0.1:8080/"}))
        assert [("/url", "denied")] == faults(await api.post({"url": "http://10.0.0.7/"}))
        await api.submitted({"url": INNER})
        await api.submitted({"url": "http://a.internal/"})
    async with serving(redis_url, dev=True, egress_allow="*") as api:
        await api.submitted({"url": "http://127.0.0.1:8080/"})
        own = redis_url.removeprefix("redis://").partition("/")[0]
        assert [("/url", "own-redis")] == faults(await api.post({"url": f"http://{own}/"}))
