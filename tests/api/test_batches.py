"""`POST /v1/tasks/batch`: many submissions, a receipt for each."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from tests.api.serving import ADD, Serving, serving, stored
from tests.servers import Server


async def receipts(api: Serving, submissions: Any) -> list[dict[str, Any]]:
    answer = await api.http.post("/v1/tasks/batch", content=orjson.dumps(submissions))
    assert 200 == answer.status_code, answer.text
    found: list[dict[str, Any]] = answer.json()
    return found


async def test_each_submission_has_its_receipt_in_order(api: Serving) -> None:
    """One that is wrong does not stop the others, and is told as it would be alone."""
    bad = [{"name": "demo.add"}, {"nonsense": 1}, {"name": "no.such"}, 5]
    got = await receipts(api, [ADD, *bad, {"url": "http://a.example"}])
    assert list(range(6)) == [one["index"] for one in got]
    assert [201, 422, 422, 422, 422, 201] == [one["status"] for one in got]
    kinds = ["invalid-arguments", "invalid-submission", "unknown-handler", "invalid-submission"]
    assert [f"/problems/{kind}" for kind in kinds] == [one["problem"]["type"] for one in got[1:5]]
    for one in (got[0], got[5]):
        assert one["task"] == await api.read(one["task"]["id"])


async def test_thousand_tasks_are_stored_in_order(api: Serving) -> None:
    """Later ids sort after earlier ones within each call, and all are there."""
    got = await receipts(api, [{**ADD, "metadata": {"n": n}} for n in range(1000)])
    assert list(range(1000)) == [one["task"]["metadata"]["n"] for one in got]
    assert 1000 == (await api.http.get("/v1/queues/default")).json()["queued"]
    assert 1000 == len({one["task"]["id"] for one in got})


async def test_keys_are_those_of_the_submissions(api: Serving) -> None:
    """A key that comes twice makes one task, in one batch or in two; another submission under it is refused."""
    keyed = {**ADD, "idempotency_key": "k"}
    first, second, third = await receipts(api, [keyed, keyed, {**keyed, "priority": 1}])
    assert [201, 200, 422] == [first["status"], second["status"], third["status"]]
    assert first["task"]["id"] == second["task"]["id"]
    [again] = await receipts(api, [keyed])
    assert (200, first["task"]["id"]) == (again["status"], again["task"]["id"])


async def test_numbers_and_depth_are_checked_one_by_one(api: Serving) -> None:
    """One submission that cannot be kept as it was given does not spoil the batch."""
    body = b'[{"url":"http://a.example"},{"url":"http://a.example","metadata":{"n":99999999999999999999}}]'
    got = (await api.http.post("/v1/tasks/batch", content=body)).json()
    assert [201, 400] == [one["status"] for one in got]
    assert [{"pointer": "/metadata/n", "detail": "needs to be from -2^63 to 2^64 - 1"}] == got[1]["problem"]["errors"]
    deep = b'[{"url":"http://a.example"},{"metadata":{"x":' + b"[" * 80 + b"]" * 80 + b"}}]"
    got = (await api.http.post("/v1/tasks/batch", content=deep)).json()
    assert [201, 400] == [one["status"] for one in got]


@pytest.mark.parametrize(
    ("body", "status", "kind"),
    [
        (b"", 400, "malformed-json"),
        (b"[", 400, "malformed-json"),
        (b"[1,]", 400, "malformed-json"),
        (b"{}", 422, "invalid-submission"),
        (b"[" + b"{}," * 1000 + b"{}]", 422, "invalid-submission"),
        (b"[" * 100_000 + b"]" * 100_000, 400, "invalid-request"),
    ],
)
async def test_what_is_no_batch_is_refused_as_a_whole(
    api: Serving, redis_server: Server, body: bytes, status: int, kind: str
) -> None:
    """With a problem, and nothing stored."""
    before = stored(redis_server)
    answer = await api.http.post("/v1/tasks/batch", content=body)
    assert (status, f"/problems/{kind}") == (answer.status_code, answer.json()["type"])
    assert before == stored(redis_server)


async def test_empty_batch_is_fine(api: Serving) -> None:
    """Nothing in, nothing out."""
    assert [] == await receipts(api, [])


async def test_batch_has_a_bound_of_its_own(redis_url: str) -> None:
    """In bytes, apart from that of one task."""
    async with serving(redis_url, max_body_bytes=1024, max_batch_bytes=4096) as api:
        urls = [{"url": "http://a.example/" + "x" * 1000}] * 3
        assert [201] * 3 == [one["status"] for one in await receipts(api, urls)]
        answer = await api.http.post("/v1/tasks/batch", content=orjson.dumps(urls * 2))
        assert (413, "/problems/too-large") == (answer.status_code, answer.json()["type"])
