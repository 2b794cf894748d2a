"""
An API with one of everything, so that any operation of the contract can be answered by any status that it documents;
and the requests themselves.

The fact to know: paths and bodies are the examples of the contract, so that those are held to what they promise; ids,
which nobody can choose, are those of what there is.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import orjson

from service.completion import token_of
from service.contract import METHODS, contract, operations, resolve
from service.ids import encode_id
from service.settings import Settings
from service.store import Store
from service.store.decisions import HandOver, report_of
from service.task import Leased, options_of
from tests.api.serving import ADD, Serving, handler, publish, serving
from tests.api.test_workers import announced
from tests.store.acting import Worker

Operation = tuple[str, str, dict[str, Any]]
KEY = "the-operators"
JSON = {"content-type": "application/json"}
NOBODYS = {
    "name": "nobody's", "queue": "no queue", "group": "no group", "key": "no key", "file": "none", "type": "none",
    "endpoint": "none", "id": "01M819EKHX02FJFH0TDFHXG001", "token": "none", "url": "https://nobody.example/",
}  # fmt: skip
BY_HEADER = ("/v1/send/", "/v1/handlers/")  # whose body is somebody else's, and whose options are header fields
FAR = {"delay_seconds": 600}


class World:
    """What there is. *ids* are by the beginning of the path that they stand in."""

    def __init__(self, api: Serving, store: Store) -> None:
        self.api, self.store, self.worker = api, store, Worker(store)
        self.headers = {"authorization": f"Bearer {KEY}"}
        self.ids: dict[str, str] = {}
        self.token = ""

    async def ask(self, method: str, place: str, **given: Any) -> httpx.Response:
        given["headers"] = {**self.headers, **given.get("headers", {})}
        return await self.api.http.request(method, place, **given)

    async def made(self, method: str, place: str, **given: Any) -> dict[str, Any]:
        """What was answered to a request that must succeed."""
        answer = await self.ask(method, place, **given)
        assert answer.status_code < 300, (method, place, answer.text)
        found: dict[str, Any] = answer.json() if answer.content else {}
        return found

    async def task(self, **submission: Any) -> str:
        """The id of a new task."""
        return str((await self.made("POST", "/v1/tasks", json={**ADD, **submission}))["id"])

    async def leased(self, **submission: Any) -> Leased:
        """A task that runs."""
        await self.task(queue="leased", **submission)
        [task] = await self.worker.lease(queue="leased")
        return task

    async def ended(self, how: str = "succeeded", **submission: Any) -> str:
        """The id of a task that succeeded, or failed."""
        task = await self.leased(**submission)
        await (self.worker.succeed(task) if how == "succeeded" else self.worker.fail(task))
        return encode_id(task.id)

    async def completion(self) -> str:
        """The token of an attempt that its endpoint holds."""
        await self.made("POST", "/v1/tasks", json={"url": "https://hooks.example.com/x", "queue": "leased"})
        [task] = await self.worker.lease(queue="leased", lane="url")
        options = options_of({}, None, self.store.settings)
        report = report_of(task, HandOver(60_000, 4_000_000_000_000), options, self.store.settings, "w1", 0)
        assert b"1" == await self.worker.report([task], [report])
        return token_of(await self.store.completions.secret.get(), task.id, task.token)

    async def key(self, *scopes: str, **given: Any) -> tuple[str, dict[str, str]]:
        """(id, header fields) of a new key."""
        asked = {"name": "k", "scopes": list(scopes), **given}
        made = await self.made("POST", "/v1/keys", json=asked)
        return made["id"], {"authorization": f"Bearer {made['key']}"}

    async def session(self) -> str:
        """The cookie of somebody who is signed in."""
        answer = await self.ask("POST", "/v1/session", json={"key": KEY})
        return answer.headers["set-cookie"].partition(";")[0]

    async def begun(self, place: str) -> httpx.Response:
        """The beginning of an answer that may have no end."""
        async with self.api.http.stream("GET", place, headers=self.headers) as answer:
            return httpx.Response(answer.status_code, text="a stream")

    def place(self, path: str, **named: str) -> str:
        """*path* with what there is for each parameter, unless it is *named*."""
        id_ = next((one for start, one in self.ids.items() if path.startswith(start)), "")
        shown = {one["name"]: one["example"] for one in parameters(path, "path")}
        known = {**shown, "id": id_, "token": self.token, **named}
        return re.sub(r"{(\w+)}", lambda name: known[name[1]], path)

    async def furnish(self) -> None:
        """Make one of everything."""
        await publish(self.store, [handler("demo.add", a="integer", b="integer")])
        await self.made("PUT", "/v1/schedules/nightly-report", json={"cron": "0 3 * * *", "task": ADD})
        await self.made("PATCH", "/v1/queues/mail", json={"concurrency": 5})
        await self.made("PATCH", "/v1/queues/empty", json={"concurrency": 5})
        await self.task(queue="mail", group="tenant-42", flow={"key": "api.example.com"}, **FAR)
        await self.made("PATCH", "/v1/flows/api.example.com", json={"concurrency": 5})
        await self.made("PUT", "/v1/endpoints/https:api.example.com/auth", json={"kind": "oidc"})
        week = {"start_at": "2026-11-01T00:00:00Z", "end_at": "2026-11-08T00:00:00Z"}
        backfill = await self.made("POST", "/v1/schedules/nightly-report/backfill", json=week)
        bulk = await self.made("POST", "/v1/bulk/cancel", json={"filter": {"tag": "none"}})
        key, _ = await self.key("reader")
        self.token = await self.completion()
        self.ids = {
            "/v1/tasks/": await self.task(**FAR), "/v1/schedules/": backfill["id"], "/v1/bulk/": bulk["id"],
            "/v1/workers/": await announced(self.store), "/v1/keys/": key,
        }  # fmt: skip


@asynccontextmanager
async def furnished(redis_url: str, **settings: Any) -> AsyncIterator[World]:
    """A world of its own, on an empty Redis."""
    store = await Store.open(Settings(redis_url=redis_url))
    try:
        async with serving(redis_url, api_key=KEY, accept_unknown_handlers=True, **settings) as api:
            world = World(api, store)
            await world.furnish()
            yield world
    finally:
        await store.close()


def parameters(path: str, place: str, method: str = "") -> list[dict[str, Any]]:
    """The parameters of a path of the contract, or of one operation of it, that stand in *place*."""
    entry = contract()["paths"][path]
    asked = [entry[method.lower()]] if method else [one for name, one in entry.items() if name in METHODS]
    found = [resolve(one) for part in (entry, *asked) for one in part.get("parameters", [])]
    return [one for one in found if one["in"] == place]


def those_with(status: int) -> list[Operation]:
    """The operations that document *status*."""
    return [(path, method, one) for path, method, one in operations() if str(status) in one["responses"]]


def statuses() -> set[int]:
    """All that any operation documents."""
    return {int(status) for _, _, one in operations() for status in one["responses"]}


def bodies_of(operation: dict[str, Any]) -> list[dict[str, Any]]:
    """What may be sent to *operation*, as arguments of a request: each example of its body, or nothing."""
    content = operation.get("requestBody", {}).get("content", {})
    return [
        {"content": raw(resolve(example)["value"]), "headers": {"content-type": kind.replace("*/*", "text/plain")}}
        for kind, described in content.items()
        for example in described.get("examples", {}).values()
    ] or [{}]


def raw(value: Any) -> bytes:
    return value.encode() if isinstance(value, str) else orjson.dumps(value)
