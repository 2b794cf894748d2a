"""
An API under test: the real server on a free loopback port, on the test's own event loop.

It ends with the block that started it. Signals are left to the test run.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import httpx

from service.api.app import Api
from service.api.web import Server, config_of, listen
from service.settings import Settings
from service.store import Store
from tests.recording import Recorder
from tests.servers import DEADLINE_SECONDS
from tests.servers import Server as RedisServer


def handler(name: str, **args: str) -> dict[str, Any]:
    """A handler as its worker publishes it; *args* are the types of its required arguments."""
    schema = {
        "type": "object",
        "properties": {arg: {"type": kind} for arg, kind in args.items()},
        "required": list(args),
        "additionalProperties": False,
    }
    return {"name": name, "lane": "async", "queue": "default", "description": None, "args_schema": schema}


HANDLERS = [
    handler("demo.add", a="integer", b="integer"),
    handler("demo.sleep", seconds="number"),
    handler("demo.flaky", fail_times="integer"),
    handler("demo.progress", steps="integer"),
]
ADD = {"name": "demo.add", "args": {"a": 2, "b": 3}}


class Quiet(Server):
    """The server without its signal handlers, which would be those of the test run."""

    def __init__(self, api: Api, recorder: Recorder) -> None:
        config = config_of(api)
        config.app = recorder
        super().__init__(api, config)
        self.told = asyncio.Event()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def main_loop(self) -> None:
        """Without ticks, so that a test that ends need not wait for one."""
        await self.on_tick(0)
        await self.told.wait()

    def stop(self) -> None:
        super().stop()
        self.told.set()


class Serving:
    """A running API. *http* speaks to it, *port* is where it listens."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.socket = listen(settings)
        self.port: int = self.socket.getsockname()[1]
        self.api = Api(settings)
        self.recorder = Recorder(self.api)
        self.server = Quiet(self.api, self.recorder)
        self.running: asyncio.Task[None] | None = None
        url = f"http://127.0.0.1:{self.port}"
        self.http = httpx.AsyncClient(base_url=url, timeout=60, trust_env=False)

    async def start(self) -> None:
        self.running = asyncio.create_task(self.server.serve([self.socket]))
        while not self.server.started:
            await asyncio.sleep(0.005)

    async def until_ready(self) -> None:
        await self.api.runtime.starting

    async def stop(self) -> None:
        """As SIGTERM does; returns when everything has ended."""
        self.server.stop()
        assert self.running is not None
        await self.running

    async def close(self) -> None:
        await self.http.aclose()
        await self.stop()
        with contextlib.suppress(OSError):
            self.socket.close()

    async def post(self, submission: Any, **given: Any) -> httpx.Response:
        """`POST /v1/tasks`"""
        return await self.http.post("/v1/tasks", json=submission, **given)

    async def submitted(self, submission: Any, **given: Any) -> dict[str, Any]:
        """The task that a submission became; it must become one."""
        answer = await self.post(submission, **given)
        assert 201 == answer.status_code, answer.text
        task: dict[str, Any] = answer.json()
        return task

    async def read(self, id_: str) -> dict[str, Any]:
        answer = await self.http.get(f"/v1/tasks/{id_}")
        assert 200 == answer.status_code, answer.text
        task: dict[str, Any] = answer.json()
        return task


@asynccontextmanager
async def serving(redis_url: str, *, is_ready: bool = True, **settings: Any) -> AsyncIterator[Serving]:
    """An API on that Redis; with *is_ready* the store has been reached."""
    started = Serving(Settings(redis_url=redis_url, **{"port": 0, "dev": True, **settings}))
    await started.start()
    try:
        if is_ready:
            await started.until_ready()
        yield started
    finally:
        await started.close()
    assert [] == started.recorder.undocumented, "statuses that the contract does not tell of"


async def until_async(claim: Callable[[], Awaitable[bool]], what: str) -> None:
    """Wait until *claim* holds."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + DEADLINE_SECONDS
    while not await claim():
        if loop.time() > deadline:
            raise TimeoutError(f"{what} did not come true within {DEADLINE_SECONDS:g} s")
        await asyncio.sleep(0.02)


async def publish(store: Store, handlers: list[dict[str, Any]] | None = None) -> None:
    """Make handlers known, as a worker does."""
    await store.workers.publish("default", HANDLERS if handlers is None else handlers, store.tasks.clock.now_ms())


def stored(server: RedisServer) -> set[str]:
    """The keys that Redis holds, apart from what processes tell of themselves, and from who asked for what."""
    keys = {str(key) for key in server.admin.scan_iter(count=1000)}
    return {key for key in keys if not key.partition("}:")[2].startswith(("meters", "audit:"))}
