"""
The endpoint of URL tasks and callbacks: notes each call that it gets, and answers well, late, badly, or by completion.

It lives in the process of the clients, which no fault touches. How it answers is chance, seeded.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
from aiohttp import web

from tests.chaos.history import History

PATIENCE_SECONDS = 60.0


class Endpoint:
    """`/task/{key}` does what a URL task asks for, `/called` is told of ends."""

    def __init__(self, history: History, chance: random.Random) -> None:
        self.history, self.chance = history, chance
        self.url = ""
        self.count = 0
        self.later: set[asyncio.Task[None]] = set()
        self.http = httpx.AsyncClient(timeout=5, trust_env=False)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[Endpoint]:
        app = web.Application()
        app.add_routes([web.post("/task/{key}", self.do), web.post("/called", self.called)])
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        try:
            yield self
        finally:
            await asyncio.gather(*self.later, return_exceptions=True)
            await runner.cleanup()
            await self.http.aclose()

    async def do(self, request: web.Request) -> web.Response:
        self.count += 1
        key, task, run = request.match_info["key"], request.headers["Taskpost-Task"], f"url-{self.count}"
        self.history.note("began", key=key, task=task, run=run, more=int(request.headers["Taskpost-Attempt"]))
        how = self.chance.choices(("done", "deferred", "failed", "later"), (80, 6, 6, 8))[0]
        await asyncio.sleep(self.chance.choice((0, 0, 0, 0.05, 0.3)))
        if how == "later":
            telling = asyncio.create_task(self.complete(request.headers["Taskpost-Completion-Url"], key, task, run))
            self.later.add(telling)
            telling.add_done_callback(self.later.discard)
            return web.Response(status=202, headers={"Taskpost-Async": "1", "Taskpost-Heartbeat": "10"})
        self.history.note("ended", key=key, task=task, run=run, how=how)
        if how == "deferred":
            return web.Response(status=503, headers={"Retry-After": "1"})
        return web.Response(status=500) if how == "failed" else web.json_response({"key": key})

    async def complete(self, url: str, key: str, task: str, run: str) -> None:
        """Finish the task through the API, however often that has to be said."""
        await asyncio.sleep(self.chance.uniform(0.05, 1))
        deadline = asyncio.get_running_loop().time() + PATIENCE_SECONDS
        # Before it is said: what was said and not heard may have been carried out. What Redis loses of it is not said
        # again; then the attempt fails for want of a heartbeat.
        self.history.note("ended", key=key, task=task, run=run, how="done")
        while asyncio.get_running_loop().time() < deadline:
            try:
                answer = await self.http.post(f"{url}/complete", json={"result": {"key": key}})
            except httpx.TransportError:
                answer = None
            if answer is not None and answer.status_code < 500 and answer.status_code != 429:
                return
            await asyncio.sleep(0.2)

    async def called(self, request: web.Request) -> web.Response:
        told = await request.json()
        ended, webhook_id = told["data"], request.headers["webhook-id"]
        self.history.note("called", task=ended["id"], how=ended["state"], key=webhook_id)
        return web.json_response({})
