"""
Submitting by a handler's arguments alone, and the contract that has an operation for each handler.
"""

from __future__ import annotations

from typing import Any

import pytest

from service.store import Store
from tests.api.serving import Serving, handler, publish, serving
from tests.store.acting import Worker

ADD = "/v1/handlers/demo.add/tasks"


async def test_the_arguments_alone_make_a_task(api: Serving) -> None:
    """The path names the handler, the body is what it takes."""
    answer = await api.http.post(ADD, json={"a": 2, "b": 3})
    assert 201 == answer.status_code, answer.text
    task = answer.json()
    assert ("demo.add", {"a": 2, "b": 3}) == (task["name"], task["args"])
    assert f"/v1/tasks/{task['id']}" == answer.headers["location"]
    assert task == await api.read(task["id"])


async def test_options_come_as_header_fields(api: Serving) -> None:
    """Everything that a submission can say besides its arguments can be said."""
    options = {"Delay-Seconds": "60", "Queue": "sums", "Retries": "7", "Tags": "a,b"}
    headers = {f"Taskpost-{name}": value for name, value in options.items()}
    task = (await api.http.post(ADD, json={"a": 2, "b": 3}, headers=headers)).json()
    assert ("scheduled", "sums", 7, ["a", "b"]) == (task["state"], task["queue"], task["retries"], task["tags"])


async def test_the_same_key_answers_the_same_task(api: Serving) -> None:
    """A retried request submits once, as everywhere."""
    first, second = [
        await api.http.post(ADD, json={"a": 2, "b": 3}, headers={"Idempotency-Key": "k1"}) for _ in range(2)
    ]
    assert (201, 200, first.json()["id"]) == (first.status_code, second.status_code, second.json()["id"])


async def test_it_waits_for_the_result(api: Serving, worker: Worker) -> None:
    """`Prefer: wait` answers the ended task, or the unfinished one after the wait."""
    answer = await api.http.post(ADD, json={"a": 2, "b": 3}, headers={"Prefer": "wait=1"})
    assert (202, "wait=1") == (answer.status_code, answer.headers["preference-applied"])


async def test_a_handler_without_arguments_needs_no_body(api: Serving, store: Store) -> None:
    """`POST` with nothing is enough."""
    await publish(store, [handler("tidy")])
    answer = await api.http.post("/v1/handlers/tidy/tasks")
    assert (201, {}) == (answer.status_code, answer.json().get("args", {}))


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ({"json": {"a": 2, "c": "x"}}, [{"pointer": ""}, {"pointer": "/c"}]),
        ({"json": {"a": "2", "b": 3}}, [{"pointer": "/a"}]),
        ({"json": [2, 3]}, [{"pointer": ""}]),
        ({"json": {"a": 2, "b": 3}, "headers": {"Taskpost-Priority": "99"}}, [{"header": "Taskpost-Priority"}]),
        ({"json": {"a": 2, "b": 3}, "headers": {"Taskpost-Prioriti": "9"}}, [{"header": "taskpost-prioriti"}]),
    ],
)  # fmt: skip
async def test_each_fault_is_where_it_was_sent(
    api: Serving, sent: dict[str, Any], expected: list[dict[str, str]]
) -> None:
    """A pointer leads into the body as it was sent, not into a submission that nobody wrote."""
    answer = await api.http.post(ADD, **sent)
    assert 422 == answer.status_code
    places = [{key: fault[key] for key in ("pointer", "header") if key in fault} for fault in answer.json()["errors"]]
    assert sorted(map(str, expected)) == sorted(map(str, places))


async def test_an_unknown_handler_is_named_with_the_nearest(api: Serving) -> None:
    """A slip in the path is told as a slip in `name` is."""
    answer = await api.http.post("/v1/handlers/demo.ad/tasks", json={})
    problem = answer.json()
    assert (422, "/problems/unknown-handler") == (answer.status_code, problem["type"])
    assert "demo.add" == problem["errors"][0]["hint"]


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ({"content": b"{", "headers": {"content-type": "application/json"}}, 400),
        ({"content": b"a=1", "headers": {"content-type": "application/x-www-form-urlencoded"}}, 415),
        ({"content": b" " * 1_100_000, "headers": {"content-type": "application/json"}}, 413),
        ({"json": {}, "headers": {"x-long": "x" * 20_000}}, 431),
    ],
)  # fmt: skip
async def test_what_cannot_be_read_is_refused(api: Serving, sent: dict[str, Any], status: int) -> None:
    """The bounds of requests hold here too."""
    assert status == (await api.http.post(ADD, **sent)).status_code


async def test_only_posting_is_offered(api: Serving) -> None:
    """Another method is told what there is; other paths below a handler are none."""
    answer = await api.http.get(ADD)
    assert (405, "POST") == (answer.status_code, answer.headers["allow"])
    assert 404 == (await api.http.post("/v1/handlers/demo.add/other", json={})).status_code
    assert 404 == (await api.http.post("/v1/handlers/demo/add/tasks", json={})).status_code


async def test_the_contract_has_an_operation_for_each_handler(api: Serving) -> None:
    """A client that is generated from it has a method for each handler."""
    document = (await api.http.get("/openapi.json", params={"handlers": "live"})).json()
    operation = document["paths"][ADD]["post"]
    assert "demoAdd" == operation["operationId"]
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    assert {"$ref": "#/components/schemas/DemoAddArgs"} == schema
    assert ["a", "b"] == document["components"]["schemas"]["DemoAddArgs"]["required"]
    assert ADD not in (await api.http.get("/openapi.json")).json()["paths"]


async def test_a_new_handler_is_in_the_next_contract(api: Serving, store: Store) -> None:
    """Nothing is kept from before: what a worker published a moment ago is there."""
    await publish(store, [{**handler("mail:send", to="string"), "result_schema": {"type": "boolean"}}])
    document = (await api.http.get("/openapi.json", params={"handlers": "live"})).json()
    result = document["components"]["schemas"]["MailSendTask"]["properties"]["result"]
    assert "boolean" == result["type"]


async def test_which_handlers_there_are_needs_a_key(redis_url: str, store: Store) -> None:
    """The contract is open to everybody; what an application can do is not."""
    async with serving(redis_url, api_key="secret") as api:
        assert 200 == (await api.http.get("/openapi.json")).status_code
        assert 401 == (await api.http.get("/openapi.json", params={"handlers": "live"})).status_code
        assert 401 == (await api.http.post(ADD, json={"a": 2, "b": 3})).status_code
        key = {"authorization": "Bearer secret"}
        assert 200 == (await api.http.get("/openapi.json?handlers=live", headers=key)).status_code
        assert 201 == (await api.http.post(ADD, json={"a": 2, "b": 3}, headers=key)).status_code


async def test_a_slip_in_the_query_is_told(api: Serving) -> None:
    """`handlers=all` is not taken for anything."""
    for query in ({"handlers": "all"}, {"handler": "live"}):
        answer = await api.http.get("/openapi.json", params=query)
        assert (422, "/problems/invalid-query") == (answer.status_code, answer.json()["type"])
