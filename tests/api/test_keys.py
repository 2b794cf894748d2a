"""API keys over HTTP: made, shown once, used, bounded, revoked; and what each may do."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from service.api.app import ROUTES
from service.contract import operations
from service.store import Store, keys
from tests.api.live import following
from tests.api.serving import ADD, Serving, serving, until_async
from tests.api.test_streams import LINE, Talk, talk

ROOT_KEY = "the-operators"
STREAM = {"Content-Type": "application/x-ndjson"}


@pytest.fixture
async def api(store: Store, redis_url: str) -> AsyncIterator[Serving]:
    """An API whose operator has a key; requests of `api.http` bring it."""
    async with serving(redis_url, api_key=ROOT_KEY) as running:
        running.http.headers["Authorization"] = f"Bearer {ROOT_KEY}"
        yield running


async def made(api: Serving, *scopes: str, **given: Any) -> dict[str, Any]:
    """A key, as its maker sees it."""
    wanted = {"scopes": list(scopes)} if scopes else {}
    answer = await api.http.post("/v1/keys", json={"name": "a key", **wanted, **given})
    assert 201 == answer.status_code, answer.text
    key: dict[str, Any] = answer.json()
    return key


@asynccontextmanager
async def holder(api: Serving, *scopes: str, **given: Any) -> AsyncIterator[httpx.AsyncClient]:
    """Who has a fresh key of these scopes."""
    token = (await made(api, *scopes, **given))["key"]
    async with bearing(api, token) as client:
        yield client


def bearing(api: Serving, token: str) -> httpx.AsyncClient:
    headers = {"Authorization": f"Bearer {token}"}
    return httpx.AsyncClient(base_url=api.http.base_url, headers=headers, timeout=60, trust_env=False)


async def test_a_key_is_shown_once(api: Serving, store: Store) -> None:
    """Whoever lists keys, or reads Redis, does not learn how to be one."""
    key = await made(api, "tasks:write", name="importer")
    shown = (await api.http.get(f"/v1/keys/{key['id']}")).json()
    assert {name: value for name, value in key.items() if name != "key"} == shown
    assert [shown] == (await api.http.get("/v1/keys")).json()["items"]
    kept = await store.client.hgetall(keys.API_KEYS)
    assert key["key"].encode()[13:] not in b"".join([*kept, *kept.values()])
    assert key["key"].startswith(f"tp_{key['id']}")


async def test_a_key_may_do_what_its_scopes_say(api: Serving) -> None:
    """And a request for more is refused with the scope that it would need."""
    async with holder(api, "tasks:write", name="importer") as client:
        task = (await client.post("/v1/tasks", json=ADD)).json()
        refused = await client.get(f"/v1/tasks/{task['id']}")
    assert (403, "/problems/forbidden", "tasks:read") == (
        refused.status_code, refused.json()["type"], refused.json()["scope"],
    )  # fmt: skip
    assert 'the key "importer" may not do this: it needs the scope tasks:read' == refused.json()["detail"]


def calls() -> list[tuple[str, str]]:
    """(method, path) of every operation that asks for a key and is served."""
    return [
        (method, path)
        for path, method, operation in operations()
        if operation["security"] and path in ROUTES
    ]


def place(path: str, **named: str) -> str:
    """*path* with something in its parameters."""
    path = path.replace("{url}", "https://a.example")
    return re.sub(r"{(\w+)}", lambda found: named.get(found[1], "none"), path)


async def test_every_operation_asks_for_a_key(api: Serving) -> None:
    """Nothing but what is open to everybody answers to who brings none, or one that opens nothing."""
    for token, detail in (
        (None, "no API key was given"),
        ("tp_7Hq2mZk3vJ", "this is no API key of this service, or not the whole of it"),
        ((await made(api, "admin"))["key"][:-6] + "aaaaaa", "not the whole of it"),
    ):
        async with httpx.AsyncClient(base_url=api.http.base_url, trust_env=False) as client:
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            for method, path in calls():
                answer = await client.request(method, place(path), headers=headers)
                assert 401 == answer.status_code, (method, path)
                assert "Bearer" == answer.headers["WWW-Authenticate"]
                assert detail in answer.json()["detail"], (method, path)


async def test_every_operation_asks_for_its_scope(api: Serving) -> None:
    """A key of another area is refused everywhere else; one of the scope alone is let in."""
    async with holder(api, "audit:read") as stranger:
        for method, path in calls():
            needed = scope_of(method, path)
            if needed in ("", "audit:read"):
                continue
            answer = await stranger.request(method, place(path))
            assert (403, needed) == (answer.status_code, answer.json()["scope"]), (method, path)
    holders = {}
    for method, path in calls():
        needed = scope_of(method, path) or "reader"
        if needed not in holders:
            holders[needed] = bearing(api, (await made(api, needed))["key"])
        async with httpx.AsyncClient(
            base_url=api.http.base_url, headers=holders[needed].headers, trust_env=False
        ) as client, client.stream(method, place(path)) as answer:  # some have no end
            assert answer.status_code not in (401, 403), (method, path)
    for one in holders.values():
        await one.aclose()


def scope_of(method: str, path: str) -> str:
    [security] = [
        operation["security"] for one, verb, operation in operations() if (verb, one) == (method, path)
    ]
    return "".join(security[1]["bearer"])


async def test_roles_include_scopes(api: Serving) -> None:
    """A reader reads, an operator works, an admin grants."""
    async with holder(api, "reader") as reader, holder(api, "operator") as operator, holder(api, "admin") as admin:
        assert [200, 403] == [
            (await reader.get("/v1/queues")).status_code, (await reader.post("/v1/tasks", json=ADD)).status_code,
        ]  # fmt: skip
        assert [201, 403] == [
            (await operator.post("/v1/tasks", json=ADD)).status_code, (await operator.get("/v1/keys")).status_code,
        ]  # fmt: skip
        assert 200 == (await admin.get("/v1/keys")).status_code


async def test_nobody_grants_more_than_they_have(api: Serving) -> None:
    """A key that makes keys cannot make a stronger one, nor one of another namespace, nor end a stronger one."""
    strong = await made(api, "admin", namespace="acme")
    async with holder(api, "keys:*", "tasks:*", namespace="acme") as client:
        assert 201 == (await client.post("/v1/keys", json={"name": "n", "scopes": ["tasks:read"]})).status_code
        beyond = await client.post("/v1/keys", json={"name": "n", "scopes": ["operator"]})
        assert (403, "audit:read") == (beyond.status_code, beyond.json()["scope"])
        elsewhere = {"name": "n", "scopes": ["tasks:read"], "namespace": "default"}
        assert 403 == (await client.post("/v1/keys", json=elsewhere)).status_code
        assert 403 == (await client.delete(f"/v1/keys/{strong['id']}")).status_code


async def test_a_key_ends_when_it_says(api: Serving, store: Store) -> None:
    """An expired key is refused, and says so."""
    key = await made(api, "tasks:read", expires_in_seconds=100)
    async with bearing(api, key["key"]) as client:
        assert 200 == (await client.get("/v1/tasks")).status_code
        await store.api_keys.fields.change(key["id"], lambda found: {**(found or {}), "expires_ms": 1})
        await until_async(lambda: told(client, "this API key has expired"), "it has expired")
    assert "expired" == (await api.http.get(f"/v1/keys/{key['id']}")).json()["state"]


async def told(client: httpx.AsyncClient, detail: str) -> bool:
    answer = await client.get("/v1/tasks")
    return answer.status_code == 401 and detail in answer.json()["detail"]


@pytest.mark.parametrize(
    ("given", "pointer"),
    [
        ({"expires_at": "2020-01-01T00:00:00Z"}, "/expires_at"),
        ({"expires_at": "2099-01-01T00:00:00Z", "expires_in_seconds": 5}, "/expires_at"),
        ({"scopes": ["tasks:everything"]}, "/scopes/0"),
        ({"scopes": []}, "/scopes"),
        ({"namespace": "Not/One"}, "/namespace"),
        ({"rate_limit": {"requests": 0, "window_seconds": 1}}, "/rate_limit/requests"),
    ],
)
async def test_faults_of_a_key_are_named(api: Serving, given: dict[str, Any], pointer: str) -> None:
    """Each with its place."""
    answer = await api.http.post("/v1/keys", json={"name": "n", "scopes": ["reader"], **given})
    assert 422 == answer.status_code
    assert pointer in [fault["pointer"] for fault in answer.json()["errors"]]


async def test_a_revoked_key_opens_nothing_anywhere(api: Serving, redis_url: str) -> None:
    """On all processes of the API within seconds, on a stream that is under way too; revoking it again is no fault."""
    key = await made(api, "tasks:*")
    async with serving(redis_url, api_key="another") as other, bearing(api, key["key"]) as here:
        there = bearing(other, key["key"])
        assert [200, 200] == [(await one.get("/v1/tasks")).status_code for one in (here, there)]
        async with talk(api, key["key"]) as stream:
            await stream.send(LINE)
            assert 201 == (await received(stream))["status"]
            first = await api.http.delete(f"/v1/keys/{key['id']}")
            assert (200, "revoked") == (first.status_code, first.json()["state"])
            await until_async(lambda: told(here, "was revoked at"), "it is revoked here")
            await until_async(lambda: told(there, "was revoked at"), "it is revoked there")
            await stream.send(LINE)
            assert 401 == (await received(stream))["status"]
        await there.aclose()
    assert first.json() == (await api.http.delete(f"/v1/keys/{key['id']}")).json()
    assert 404 == (await api.http.delete("/v1/keys/0123456789")).status_code


async def received(stream: Talk) -> dict[str, Any]:
    receipt = await stream.receipt()
    assert receipt is not None
    return receipt


async def test_the_last_use_of_a_key_is_told(api: Serving) -> None:
    """So that one knows which keys nobody needs."""
    key = await made(api, "tasks:read")
    assert key["last_used_at"] is None
    async with bearing(api, key["key"]) as client:
        await client.get("/v1/tasks")

    async def is_told() -> bool:
        return (await api.http.get(f"/v1/keys/{key['id']}")).json()["last_used_at"] is not None

    await until_async(is_told, "its use is told")


async def test_from_the_first_key_on_every_request_needs_one(store: Store, redis_url: str) -> None:
    """A service without any key asks nobody; a key that is made closes it, and it stays so when that is revoked."""
    async with serving(redis_url) as api:
        assert 200 == (await api.http.get("/v1/tasks", headers={"Authorization": "Bearer any"})).status_code
        key = await made(api, "keys:*")

        async def is_closed() -> bool:
            return (await api.http.get("/v1/tasks")).status_code == 401

        await until_async(is_closed, "it asks for a key")
        async with bearing(api, key["key"]) as client:
            assert 200 == (await client.delete(f"/v1/keys/{key['id']}")).status_code
    async with serving(redis_url) as again:
        assert 401 == (await again.http.get("/v1/tasks")).status_code


async def test_a_service_may_ask_for_keys_before_there_are_any(store: Store, redis_url: str) -> None:
    """With TASKPOST_REQUIRE_KEYS nobody gets in before the first key is made."""
    async with serving(redis_url, require_keys=True) as api:
        assert 401 == (await api.http.get("/v1/tasks")).status_code


async def test_a_redis_without_keys_is_no_open_door(redis_url: str, store: Store, api: Serving) -> None:
    """Who brings a key when Redis was emptied is not taken for somebody else."""
    async with holder(api, "reader") as client:
        assert 200 == (await client.get("/v1/tasks")).status_code
        await store.client.delete(keys.API_KEYS)
        await until_async(lambda: told(client, "there is no such API key"), "it opens nothing")


# ---------------------------------------------------------------- rates


async def test_a_key_may_ask_so_often(api: Serving) -> None:
    """Three requests in an hour and no fourth; each answer says how much is left."""
    limit = {"requests": 3, "window_seconds": 3600}
    async with holder(api, "tasks:*", rate_limit=limit) as client:
        answers = [await client.get("/v1/tasks"), await client.post("/v1/tasks", json=ADD)]
        answers.append(await client.get("/v1/tasks"))
        refused = [await client.get("/v1/tasks"), await client.post("/v1/tasks", json=ADD)]
    assert [200, 201, 200] == [one.status_code for one in answers]
    assert ['"key";q=3;w=3600'] * 5 == [one.headers["RateLimit-Policy"] for one in (*answers, *refused)]
    assert ["2", "1", "0"] == [one.headers["RateLimit"].split(";")[1][2:] for one in answers]
    for one in refused:
        assert (429, "/problems/too-many-requests") == (one.status_code, one.json()["type"])
        assert 1100 < int(one.headers["Retry-After"]) <= 1200


async def test_a_rate_holds_over_all_processes(api: Serving, redis_url: str) -> None:
    """Two processes of the API let as many in as one."""
    key = await made(api, "tasks:read", rate_limit={"requests": 4, "window_seconds": 3600})
    async with serving(redis_url, api_key="another") as other, bearing(api, key["key"]) as here:
        there = bearing(other, key["key"])
        statuses = [(await one.get("/v1/tasks")).status_code for one in (here, there) * 4]
        await there.aclose()
    assert [200] * 4 + [429] * 4 == statuses


async def test_each_task_of_a_batch_counts(api: Serving) -> None:
    """A batch is taken whole, and what it is beyond the limit is owed; so with a stream."""
    limit = {"requests": 5, "window_seconds": 3600}
    async with holder(api, "tasks:*", rate_limit=limit) as client:
        assert 200 == (await client.post("/v1/tasks/batch", json=[ADD] * 8)).status_code
        assert 429 == (await client.get("/v1/tasks")).status_code
    async with holder(api, "tasks:*", rate_limit={"requests": 2, "window_seconds": 3600}) as client:
        lines = (json.dumps(ADD) + "\n") * 3
        assert 200 == (await client.post("/v1/tasks/stream", content=lines, headers=STREAM)).status_code
        refused = await client.post("/v1/tasks/stream", content=lines, headers=STREAM)
        assert 429 == refused.status_code


async def test_every_operation_heeds_the_rate(api: Serving) -> None:
    """A key that has used it up is refused everywhere."""
    limit = {"requests": 1, "window_seconds": 3600}
    async with holder(api, "admin", rate_limit=limit) as client:
        await client.get("/v1/tasks")
        for method, path in calls():
            assert 429 == (await client.request(method, place(path))).status_code, (method, path)


async def test_a_rate_grows_back(api: Serving, store: Store) -> None:
    """A key that waited may ask again."""
    key = await made(api, "tasks:read", rate_limit={"requests": 10, "window_seconds": 1})
    async with bearing(api, key["key"]) as client:
        statuses = {(await client.get("/v1/tasks")).status_code for _ in range(100)}
        assert {200, 429} == statuses

        async def is_let_in() -> bool:
            return (await client.get("/v1/tasks")).status_code == 200

        await until_async(is_let_in, "it may ask again")


async def test_a_revoked_key_follows_nothing_any_more(api: Serving) -> None:
    """Events that are streamed to it end within seconds, and say why."""
    key = await made(api, "tasks:read")
    async with bearing(api, key["key"]) as client, following(client) as events:
        await api.http.delete(f"/v1/keys/{key['id']}")
        assert ["expired"] == [event.data["reason"] for event in await events.rest() if event.kind == "closing"]
