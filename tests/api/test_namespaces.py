"""Two tenants on one deployment: each sees its own, and nothing of the other, at every endpoint."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import orjson
import pytest
from websockets.asyncio.client import connect

from service.contract import operations
from service.ids import decode_id, shard_of
from service.store import Store
from service.task import SHARED
from tests.api.live import DEADLINE_SECONDS, following
from tests.api.serving import ADD, HANDLERS, Serving, handler, serving
from tests.api.test_keys import ROOT_KEY, bearing, calls, place
from tests.store.acting import Worker

ENDPOINT = "https:api.example.com"
URL = "https://api.example.com/hook"
JSON = {"Content-Type": "application/json"}
NOBODYS_ID = "01M819EKHX02FJFH0TDFHXG001"
SCHEDULE = {"task": ADD, "every_seconds": 3600, "anchor_at": "2026-01-01T00:00:00Z"}


@dataclass
class Tenant:
    """Who has a key of *namespace*, and the things that they made."""

    namespace: str
    http: httpx.AsyncClient
    made: dict[str, str]


@pytest.fixture
async def api(store: Store, redis_url: str) -> AsyncIterator[Serving]:
    now_ms = store.tasks.clock.now_ms()
    await store.workers.publish(SHARED, HANDLERS, now_ms)
    async with serving(redis_url, api_key=ROOT_KEY) as running:
        running.http.headers["Authorization"] = f"Bearer {ROOT_KEY}"
        yield running


@pytest.fixture
async def tenants(api: Serving, store: Store) -> AsyncIterator[tuple[Tenant, Tenant]]:
    found = [await tenant(api, store, name) for name in ("acme", "globex")]
    yield found[0], found[1]
    for one in found:
        await one.http.aclose()


async def tenant(api: Serving, store: Store, namespace: str) -> Tenant:
    """One who has made something of everything; no name of theirs differs from the other's."""
    key = await api.http.post("/v1/keys", json={"name": namespace, "scopes": ["admin"], "namespace": namespace})
    http = bearing(api, key.json()["key"])
    made = {"key": key.json()["id"]}

    async def did(method: str, path: str, body: Any = None) -> dict[str, Any]:
        answer = await http.request(method, path, json=body)
        assert answer.status_code in (200, 201, 202), (path, answer.text)
        found: dict[str, Any] = answer.json()
        return found

    ours = {**ADD, "idempotency_key": "order-1", "tags": [namespace], "queue": "mail"}
    made["task"] = (await did("POST", "/v1/tasks", ours))["id"]
    made["url"] = (await did("POST", "/v1/tasks", {"url": URL, "delay_seconds": 1000}))["id"]
    await did("PUT", "/v1/schedules/nightly", {**SCHEDULE, "description": namespace})
    backfill = {"start_at": "2026-01-01T00:00:00Z", "end_at": "2026-01-01T05:00:00Z"}
    made["backfill"] = (await did("POST", "/v1/schedules/nightly/backfill", backfill))["id"]
    made["bulk"] = (await did("POST", "/v1/bulk/cancel", {"filter": {"tag": "none"}}))["id"]
    await did("PATCH", "/v1/queues/mail", {"max_length": 70 if namespace == "acme" else 30})
    await did("PUT", f"/v1/endpoints/{ENDPOINT}/auth", {"kind": "bearer", "token": namespace})
    await store.gone.disable(namespace, f"https://gone.example.com/{namespace}", store.tasks.clock.now_ms())
    made["worker"] = f"{namespace}-worker"
    await announce(store, made["worker"], namespace)
    return Tenant(namespace, http, made)


async def announce(store: Store, id_: str, namespace: str, **told: Any) -> None:
    """A worker that tells of itself."""
    now_ms = store.tasks.clock.now_ms()
    worker = {
        "id": id_, "host": "h", "pid": 1, "version": "1", "state": "running", "started_ms": now_ms, "seen_ms": now_ms,
        "namespace": namespace, "queues": [], "handlers": ["demo.add"], "processes": 1, "slots": {"async": 1},
        "blocked_seconds": 0, "running": 0,
    }  # fmt: skip
    detail = {"versions": {}, "process_list": [], "tasks": [], "last_command": None, **told}
    await store.workers.announce(worker, now_ms, detail)


NAMED = {
    "/v1/tasks/": ("task", "url"), "/v1/bulk/": ("bulk",), "/v1/workers/": ("worker",), "/v1/keys/": ("key",),
}  # fmt: skip


async def test_every_id_of_another_is_not_there(tenants: tuple[Tenant, Tenant]) -> None:
    """Whatever is asked of a thing of another tenant's, the answer is that there is no such thing."""
    ours, theirs = tenants
    tried = set()
    for method, path in calls():
        if "{id}" not in path:
            continue
        kinds = next((kinds for start, kinds in NAMED.items() if path.startswith(start)), ("backfill",))
        for kind in kinds:
            body = {"json": {"threads": 1} if path.endswith("resize") else {"delay_seconds": 1}}
            optional = path.endswith(("resize", "reschedule"))
            answer = await ours.http.request(
                method, place(path, id=theirs.made[kind], name="nightly"), **(body if optional else {})
            )
            assert 404 == answer.status_code, (method, path, answer.text)
            tried.add(path)
    assert len(tried) > 15
    for kind in ("task", "bulk", "worker", "key"):
        path = {"task": "tasks", "bulk": "bulk", "worker": "workers", "key": "keys"}[kind]
        assert 200 == (await theirs.http.get(f"/v1/{path}/{theirs.made[kind]}")).status_code


ALIKE = "what it says is the same for everybody"
TOKEN = "the token in its path is what allows it, whoever brings it"
MAKES = "it names nothing that is there: what it makes is its caller's"
OWN = "it works on whatever its caller has"
# Operations in whose path is nothing of a tenant's, and which tell no list.
NAMELESS = {
    **dict.fromkeys(("getOpenidConfiguration", "getKeySet", "getLiveness", "getReadiness", "getContractJson",
                     "getContractYaml", "getDocs", "getDocsFile", "listProblemTypes", "getProblemType"), ALIKE),
    **dict.fromkeys(("completeAttempt", "failAttempt", "deferAttempt", "sendHeartbeat", "reportProgress",
                     "logLines"), TOKEN),
    **dict.fromkeys(("submitTask", "submitTaskBatch", "submitTaskStream", "sendPost", "sendPut", "sendPatch",
                     "sendDelete", "createSchedule", "previewNewSchedule", "createKey", "createSession"), MAKES),
    **dict.fromkeys(("bulkCancel", "bulkReplay", "bulkReschedule", "bulkPriority", "bulkDelete", "putRoutes",
                     "rotateSecrets", "deleteSession", "streamEvents"), OWN),
}  # fmt: skip


def named_calls() -> list[tuple[str, str, str]]:
    """(method, path, operationId) of what asks for a key and names a thing."""
    return [
        (method, path, one["operationId"])
        for path, method, one in operations()
        if one["security"] and "{" in path and "{url}" not in path
    ]


def test_no_operation_is_left_out() -> None:
    """One that the contract gains is walked by a test here, or somebody says why it need not be."""
    walked = {id_ for _, _, id_ in named_calls()}
    listed = {one["operationId"] for path, method, one in operations() if method == "GET" and (method, path) in calls()}
    every = {one["operationId"] for _, _, one in operations()}
    assert every - walked - (listed - {"streamEvents"}) == set(NAMELESS)


async def test_what_is_anothers_reads_as_what_never_was(
    api: Serving, store: Store, tenants: tuple[Tenant, Tenant]
) -> None:
    """A newcomer who names a thing of another's, whatever they ask of it, is answered as for a name that nobody has."""
    _, theirs = tenants
    lane = {**ADD, "queue": "lane", "group": "them", "flow": {"key": "partner"}, "delay_seconds": 1000}
    assert 201 == (await theirs.http.post("/v1/tasks", json=lane)).status_code
    assert 200 == (await theirs.http.patch("/v1/flows/partner", json={"concurrency": 5})).status_code
    key = await api.http.post("/v1/keys", json={"name": "new", "scopes": ["admin"], "namespace": "initech"})
    there = {"name": "nightly", "queue": "lane", "group": "them", "key": "partner", "endpoint": ENDPOINT}
    nowhere = {"name": "neverly", "queue": "none", "group": "none", "key": "nothing", "endpoint": "https:no.example"}
    async with bearing(api, key.json()["key"]) as newcomer:
        for method, path, operation in named_calls():
            kinds = next((kinds for start, kinds in NAMED.items() if path.startswith(start)), ("backfill",))
            answers = [
                await newcomer.request(method, place(path, **names), content=b"{}", headers=JSON)
                for names in ({**there, "id": theirs.made[kinds[0]]}, {**nowhere, "id": NOBODYS_ID})
            ]
            assert answers[1].status_code == answers[0].status_code, (operation, answers[0].text)
            assert "globex" not in answers[0].text.replace(theirs.made[kinds[0]], ""), operation
    flow = (await theirs.http.get("/v1/flows/partner")).json()
    assert 5 == flow["concurrency"]
    assert 200 == (await theirs.http.get("/v1/schedules/nightly")).status_code
    assert 200 == (await theirs.http.get(f"/v1/endpoints/{ENDPOINT}/auth")).status_code
    assert "queued" == (await theirs.http.get(f"/v1/tasks/{theirs.made['task']}")).json()["state"]


async def test_no_list_tells_of_another(tenants: tuple[Tenant, Tenant]) -> None:
    """Lists, statistics, handlers and the overview have our things, and none of theirs."""
    ours, theirs = tenants
    for method, path in calls():
        if method != "GET" or path.endswith("/events"):
            continue
        here = place(path, id=ours.made["task"], name="nightly", queue="mail", endpoint=ENDPOINT)
        answer = await ours.http.get(here)
        for told in (*theirs.made.values(), theirs.namespace):
            assert told not in answer.text, (path, told)
    assert 2 == len((await ours.http.get("/v1/tasks")).json()["items"])
    assert [ours.made["worker"]] == [one["id"] for one in (await ours.http.get("/v1/workers")).json()["items"]]
    assert [ours.made["key"]] == [one["id"] for one in (await ours.http.get("/v1/keys")).json()["items"]]


async def test_no_stream_tells_of_another(tenants: tuple[Tenant, Tenant], api: Serving) -> None:
    """By Server-Sent Events and by WebSocket; nor does a token to read one task open another's."""
    ours, theirs = tenants
    key = {"Authorization": ours.http.headers["Authorization"]}
    url = f"ws://127.0.0.1:{api.port}/v1/events"
    async with following(ours.http) as stream, connect(url, proxy=None, additional_headers=key) as socket:
        await theirs.http.post("/v1/tasks", json=ADD)
        made = (await ours.http.post("/v1/tasks", json=ADD)).json()["id"]
        assert made == (await stream.next()).data["id"]
        seen: dict[str, Any] = {}
        async with asyncio.timeout(DEADLINE_SECONDS):
            while "id" not in seen:  # what it greets with names no task
                seen = orjson.loads(await socket.recv()).get("data") or {}
        assert made == seen["id"]
    token = (await ours.http.post(f"/v1/tasks/{made}/read-token")).json()["token"]
    async with httpx.AsyncClient(base_url=api.http.base_url) as anybody:
        for id_, status in ((made, 200), (theirs.made["task"], 401)):
            assert status == (await anybody.get(f"/v1/tasks/{id_}", params={"token": token})).status_code


async def test_no_search_finds_what_is_anothers(tenants: tuple[Tenant, Tenant]) -> None:
    """By tag and by queue; nor does work on many tasks count any of them."""
    ours, theirs = tenants
    for query in ({"tag": theirs.namespace}, {"tag": theirs.namespace, "queue": "mail"}):
        assert [] == (await ours.http.get("/v1/tasks", params=query)).json()["items"]
        asked = {"filter": query, "dry_run": True}
        assert 0 == (await ours.http.post("/v1/bulk/cancel", json=asked)).json()["matched"]


async def test_the_same_names_are_two_things(tenants: tuple[Tenant, Tenant]) -> None:
    """Idempotency keys, queues, schedules, secrets and credentials of one name do not meet."""
    ours, theirs = tenants
    assert ours.made["task"] != theirs.made["task"]
    queues = [(await one.http.get("/v1/queues/mail")).json() for one in (ours, theirs)]
    assert [(70, 1), (30, 1)] == [(queue["settings"]["max_length"], queue["queued"]) for queue in queues]
    descriptions = [(await one.http.get("/v1/schedules/nightly")).json()["description"] for one in (ours, theirs)]
    assert ["acme", "globex"] == descriptions
    assert 204 == (await ours.http.delete(f"/v1/endpoints/{ENDPOINT}/auth")).status_code
    assert 200 == (await theirs.http.get(f"/v1/endpoints/{ENDPOINT}/auth")).status_code
    secrets = [(await one.http.get("/v1/secrets?reveal=true")).json()["items"][0]["secret"] for one in (ours, theirs)]
    assert secrets[0] != secrets[1]
    matched = await ours.http.post("/v1/bulk/cancel", json={"filter": {"queue": "mail"}, "dry_run": True})
    assert 1 == matched.json()["matched"]


async def test_tasks_carry_their_namespace(tenants: tuple[Tenant, Tenant], store: Store) -> None:
    """So a worker runs each as what it is, and its end is counted where it belongs."""
    ours, _ = tenants
    shard = shard_of(decode_id(ours.made["task"]))
    [task] = (await Worker(store).step(shard, wants=[("acme/mail", "async", 9)])).leased
    assert ("acme", "mail") == (task.namespace, task.queue)
    assert "acme" == (await ours.http.get(f"/v1/tasks/{ours.made['task']}")).json()["namespace"]


async def test_handlers_are_a_namespaces_or_for_all(tenants: tuple[Tenant, Tenant], store: Store) -> None:
    """A handler that a worker of one namespace has is unknown elsewhere; the own goes before the one for all."""
    ours, theirs = tenants
    now_ms = store.tasks.clock.now_ms()
    await store.workers.publish("acme", [handler("acme.only"), handler("demo.add", a="string")], now_ms)
    await store.handlers.refresh()
    only = {"name": "acme.only"}
    assert [201, 422] == [(await one.http.post("/v1/tasks", json=only)).status_code for one in (ours, theirs)]
    assert [422, 201] == [(await one.http.post("/v1/tasks", json=ADD)).status_code for one in (ours, theirs)]
    named = [one["name"] for one in (await theirs.http.get("/v1/handlers")).json()["items"]]
    assert ("demo.add" in named, "acme.only" in named) == (True, False)


async def test_a_worker_for_all_shows_each_its_own(tenants: tuple[Tenant, Tenant], store: Store) -> None:
    """Its tasks are told to those whose they are, and only the namespace default commands it."""
    ours, theirs = tenants
    rows = [
        [ours.made["task"], "demo.add", "acme/mail", "async", 1, 0, 0, 0],
        [theirs.made["task"], "demo.add", "globex/mail", "async", 1, 0, 0, 0],
    ]
    await announce(store, "for-all", SHARED, tasks=rows)
    for one in (ours, theirs):
        worker = (await one.http.get("/v1/workers/for-all")).json()
        assert [(one.made["task"], "mail")] == [(task["id"], task["queue"]) for task in worker["tasks"]]
        assert 403 == (await one.http.post("/v1/workers/for-all/quiet")).status_code
        metrics = (await one.http.get("/metrics")).text
        assert f'taskpost_worker_running{{worker="{one.made["worker"]}"}} 0' in metrics
        assert 'taskpost_worker_running{worker="for-all"}' not in metrics
        assert "\ntaskpost_dead_letters " not in metrics


async def test_the_operator_sees_all_keys(tenants: tuple[Tenant, Tenant], api: Serving) -> None:
    """And can revoke those of any namespace."""
    ours, theirs = tenants
    listed = [one["id"] for one in (await api.http.get("/v1/keys")).json()["items"]]
    assert [ours.made["key"], theirs.made["key"]] == listed
    assert 200 == (await api.http.delete(f"/v1/keys/{theirs.made['key']}")).status_code
