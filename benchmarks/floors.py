"""
What Taskpost is held against: `python -m benchmarks.floors NAME PORT [REDIS_URL]`.

bare       a raw ASGI endpoint that answers 600 bytes without reading; shows that the load generator keeps up
starlette  a Starlette endpoint with Starlette's own JSON: `await request.json()` of the submission, `JSONResponse` of
           a document as large as the API's
orjson     the same with orjson both ways, as somebody would write it who measures
evalsha    `starlette` with one awaited redis-py EVALSHA a request that stores the submission and queues it
many       `orjson` for an array of submissions: one EVALSHA stores all, one document as large answers for each
push, pop  `orjson` with one LPUSH, and a loop that takes with BRPOP and notes when: a hand-made queue
endpoint   an HTTP server that reads a body and answers a small JSON document: what URL tasks call
slow       the same, after a second
caller     a bare aiohttp loop that calls an endpoint, 100 at once; prints calls a second
httpx      the same loop with a plain httpx.AsyncClient
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import httptools
import httpx
import orjson
import redis.asyncio
import uvicorn
import uvloop
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from benchmarks.system import HOST

# What the API answers for {"name": "demo.add", "args": {"a": 2, "b": 3}}; floors answer with it, by orjson too.
ANSWER: dict[str, Any] = {
    "id": "06BNQ1YS2G0A1B2C3D4E5F6G7H", "name": "demo.add", "args": {"a": 2, "b": 3}, "queue": "default",
    "namespace": "default", "lane": "async", "state": "queued", "priority": 5, "attempt": 0, "crashes": 0,
    "created_at": "2026-01-02T03:04:05.678Z", "run_at": "2026-01-02T03:04:05.678Z", "started_at": None,
    "finished_at": None, "tags": [], "metadata": {}, "retries": 3, "timeout_seconds": 1800,
    "retry_for_seconds": 604800, "max_crashes": 3, "result_ttl_seconds": 86400,
}  # fmt: skip
BARE_ANSWER = orjson.dumps(ANSWER)
SCRIPT = """for i = 2, #ARGV do
  redis.call('SET', 'floor:t:' .. ARGV[1] .. i, ARGV[i])
  redis.call('RPUSH', 'floor:q', ARGV[1] .. i)
end
return 1"""
LIST, STAMPS = "floor:list", "floor:stamps"


def answer(count: int) -> dict[str, Any]:
    return ANSWER | {"id": f"{count:026d}"}


class Floors:
    """The Starlette endpoints."""

    def __init__(self, redis_url: str) -> None:
        self.client = redis.asyncio.Redis.from_url(redis_url) if redis_url else redis.asyncio.Redis()
        self.sha = ""
        self.count = 0

    async def store(self, *records: bytes) -> None:
        self.sha = self.sha or await self.client.script_load(SCRIPT)
        self.count += 1
        await self.client.evalsha(self.sha, 1, "floor:q", self.count, *records)

    async def starlette(self, request: Request) -> Response:
        self.count += 1
        submission = await request.json()
        return JSONResponse(answer(self.count) | {"name": submission["name"]}, 201)

    async def orjson(self, request: Request) -> Response:
        self.count += 1
        submission = orjson.loads(await request.body())
        return created(answer(self.count) | {"name": submission["name"]})

    async def evalsha(self, request: Request) -> Response:
        submission = await request.json()
        await self.store(json.dumps(submission).encode())
        return JSONResponse(answer(self.count) | {"name": submission["name"]}, 201)

    async def many(self, request: Request) -> Response:
        submissions = orjson.loads(await request.body())
        await self.store(*[orjson.dumps(one) for one in submissions])
        shown = [{"index": n, "status": 201, "task": answer(n)} for n in range(len(submissions))]
        return created(shown)

    async def push(self, request: Request) -> Response:
        submission = orjson.loads(await request.body())
        await self.client.lpush(LIST, orjson.dumps(submission))
        return created(ANSWER)


def created(document: Any) -> Response:
    return Response(orjson.dumps(document), 201, media_type="application/json")


async def bare(_scope: Any, _receive: Any, send: Callable[[Any], Awaitable[None]]) -> None:
    body = BARE_ANSWER
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 201, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def serve(app: Any, port: int) -> None:
    """As the API is served: the same settings of uvicorn, the same rare searches for cycles."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    uvicorn.run(
        app, host=HOST, port=port, loop="uvloop", http="httptools", ws="none", lifespan="off", interface="asgi3",
        log_config=None, access_log=False, server_header=False, proxy_headers=False, backlog=2048,
        timeout_keep_alive=75,
    )  # fmt: skip


async def pop(redis_url: str) -> None:
    """Take and note when, for ever."""
    client = redis.asyncio.Redis.from_url(redis_url, socket_timeout=10)
    while True:
        if await client.brpop([LIST], 5):
            await client.rpush(STAMPS, time.time_ns())


class Endpoint(asyncio.Protocol):
    """Answers each request when its body is there."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.transport, self.parser = transport, httptools.HttpRequestParser(self)

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_message_complete(self) -> None:
        self.transport.write(
            b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 11\r\n\r\n{"ok":true}'
        )


class SlowEndpoint(Endpoint):
    """Answers a second later."""

    def on_message_complete(self) -> None:
        asyncio.get_running_loop().call_later(1, super().on_message_complete)


async def listen(port: int, endpoint: type[Endpoint] = Endpoint) -> None:
    server = await asyncio.get_running_loop().create_server(endpoint, HOST, port, backlog=2048)
    await server.serve_forever()


async def call(url: str, many: int, at_once: int = 100) -> float:
    """Calls a second of *many* by bare aiohttp."""
    left = iter(range(many))
    connector = aiohttp.TCPConnector(limit=at_once)
    async with aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar()) as session:

        async def take() -> None:
            for _ in left:
                headers = {"content-type": "application/json"}
                async with session.post(url, data=b'{"order":17,"total":"9.90"}', headers=headers) as response:
                    await response.read()

        began = time.perf_counter()
        await asyncio.gather(*(take() for _ in range(at_once)))
        return many / (time.perf_counter() - began)


async def call_by_httpx(url: str, many: int, at_once: int = 100) -> float:
    """Calls a second of *many* by a plain httpx client."""
    left = iter(range(many))
    limits = httpx.Limits(max_connections=at_once)
    async with httpx.AsyncClient(limits=limits, timeout=60, trust_env=False) as client:

        async def take() -> None:
            for _ in left:
                headers = {"content-type": "application/json"}
                await client.post(url, content=b'{"order":17,"total":"9.90"}', headers=headers)

        began = time.perf_counter()
        await asyncio.gather(*(take() for _ in range(at_once)))
        return many / (time.perf_counter() - began)


def main() -> None:
    name, port, redis_url = sys.argv[1], int(sys.argv[2]), sys.argv[3] if len(sys.argv) > 3 else ""
    if name == "bare":
        serve(bare, port)
    elif name == "pop":
        uvloop.run(pop(redis_url))
    elif name == "endpoint":
        uvloop.run(listen(port))
    elif name == "slow":
        uvloop.run(listen(port, SlowEndpoint))
    elif name == "httpx":
        print(uvloop.run(call_by_httpx(f"http://{HOST}:{port}/", int(redis_url))))
    elif name == "caller":
        print(uvloop.run(call(f"http://{HOST}:{port}/", int(redis_url))))
    else:
        endpoint = getattr(Floors(redis_url), name)
        serve(Starlette(routes=[Route("/v1/tasks", endpoint, methods=["POST"])]), port)


if __name__ == "__main__":
    main()
