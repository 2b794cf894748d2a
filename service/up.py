"""
`taskpost up`: everything on one machine, for as long as the command runs.

Owns the order in which the embedded server, the API, the scheduler and the workers start and stop, and says
when they are ready. Refuses to import any of the parts: they are processes, started as their own commands.
The fact to know: nothing is started before port and data folder are known to be free, and the server stops
last, so that the workers can hand back what they hold.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
import sys
from collections.abc import Coroutine
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import ProxyHandler, Request, build_opener

import orjson

from service import __version__
from service.children import Child
from service.egress import described
from service.embedded import EmbeddedServer
from service.errors import TaskpostError
from service.ports import check_port, free_port
from service.redaction import without_password
from service.setting_values import read_value
from service.settings import Settings
from service.terminal import Terminal, signature
from service.together import parts_of, stop
from service.watch import watch

READY_SECONDS = 60.0
ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104  names them, binds nothing


class CannotStart(TaskpostError):
    """`up` ends before it is ready; the text says why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the command line says. *redis_url* None means the server of REDIS_URL, else the embedded one."""

    host: str = "127.0.0.1"
    port: int = 8080
    data: Path = Path(".taskpost")
    handlers: str = "workers.demo"
    processes: int = 1
    redis_url: str | None = None
    insecure: bool = False
    reload: bool = False


async def up(options: Options) -> int:
    """Run until Ctrl-C or SIGTERM; the exit status: 0 after an orderly end, 1 when it could not start."""
    env = dict(os.environ)
    terminal = Terminal(sys.stdout, env)
    try:
        return await Up(options, env, terminal).run()
    except TaskpostError as exc:
        terminal.line(f"taskpost up: {exc}")
        return 1


class Up:
    """One run of the command."""

    def __init__(self, options: Options, env: dict[str, str], terminal: Terminal) -> None:
        self.options, self.env, self.terminal = options, env, terminal
        self.port = options.port or free_port(options.host)
        self.server: EmbeddedServer | None = None
        self.redis_url = options.redis_url or env.get("TASKPOST_REDIS_URL") or env.get("REDIS_URL") or ""
        self.children: dict[str, Child] = {}
        self.signals = 0
        self.stopped = asyncio.Event()
        self.hurried = asyncio.Event()

    @property
    def url(self) -> str:
        host = ANY_ADDRESS.get(self.options.host, self.options.host)
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"

    @property
    def is_dev(self) -> bool:
        """Development mode: as TASKPOST_DEV says, else while nobody but this machine can submit."""
        return is_on(self.env["TASKPOST_DEV"]) if self.env.get("TASKPOST_DEV") else is_loopback(self.options.host)

    async def run(self) -> int:
        check_port(self.options.host, self.port)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup stays nohup
                asyncio.get_running_loop().add_signal_handler(number, self._on_signal)
        try:
            if not self.redis_url:
                self.server = EmbeddedServer(self.options.data)
                self.redis_url = self.server.url
                if not await self._until_stopped(self.server.start()):
                    return 0
            await self._run_parts()
        finally:
            if self.server is not None:
                await self.server.stop()
        self.terminal.line("Stopped.")
        return 0

    def _on_signal(self) -> None:
        self.signals += 1
        if self.signals == 1:
            self.terminal.line("Stopping. Running tasks have 20 s to end; Ctrl-C again stops at once.")
            self.stopped.set()
        else:
            self.hurried.set()

    async def _until_stopped(self, work: Coroutine[Any, Any, None]) -> bool:
        """Whether *work* came to its end; False when it was given up because we are told to stop."""
        doing, stopped = asyncio.create_task(work), asyncio.create_task(self.stopped.wait())
        try:
            await asyncio.wait({doing, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if doing.done():
                await doing
            return doing.done()
        finally:
            stopped.cancel()
            doing.cancel()

    async def _run_parts(self) -> None:
        """Start the parts, show what happens until told to stop, stop them."""
        self.children = self._make_children()
        running = [asyncio.create_task(child.run()) for child in self.children.values()]
        beside = [asyncio.create_task(self._show_tasks())]  # listening before the first task can move
        if self.server is not None:
            beside.append(asyncio.create_task(self._keep_server(self.server)))
        try:
            if await self._until_ready():
                await self._greet()
                await self.stopped.wait()
        finally:
            for one in beside:
                one.cancel()
            await stop(self.children.values(), running, self.hurried)

    def _make_children(self) -> dict[str, Child]:
        env = self.env | {
            "TASKPOST_REDIS_URL": self.redis_url,
            "TASKPOST_HOST": self.options.host,
            "TASKPOST_PORT": str(self.port),
            "TASKPOST_URL": self.env.get("TASKPOST_URL") or self.url,  # handlers submit, too
            "TASKPOST_PUBLIC_URL": self.env.get("TASKPOST_PUBLIC_URL") or self.url,
            "TASKPOST_HANDLERS": self.options.handlers,
            "TASKPOST_PROCESSES": str(self.options.processes),
            "TASKPOST_LOG_LEVEL": self.env.get("TASKPOST_LOG_LEVEL") or ("info" if self.options.reload else "warning"),
            "TASKPOST_DEV": "1" if self.is_dev else "0",
            "PYTHONUNBUFFERED": "1",
        }
        if self.options.insecure:
            env["TASKPOST_INSECURE"] = "1"
        if self.options.reload:
            env["TASKPOST_RELOAD"] = "1"
        return parts_of(env, self._say)

    def _say(self, name: str, said: str) -> None:
        self.terminal.part(name, said)

    # ------------------------------------------------------------ getting ready

    async def _until_ready(self) -> bool:
        """
        True once the API and our worker answer; False when told to stop before.

        Raises:
            CannotStart: a part ended instead, or took too long.
        """
        try:
            async with asyncio.timeout(READY_SECONDS):
                return await self._until_stopped(self._parts_answer())
        except TimeoutError as exc:
            raise CannotStart(f"the parts were not ready after {READY_SECONDS:g} s.") from exc

    async def _parts_answer(self) -> None:
        while not (await self._get("/readyz") and await self._is_worker_seen()):
            for name, child in self.children.items():
                if child.has_died:
                    raise CannotStart(f"{name} ended before it was ready; the lines above say why.")
            await asyncio.sleep(0.05)

    async def _is_worker_seen(self) -> bool:
        """Whether our own worker is listed; one of an earlier run may be listed for a while too."""
        workers = await self._get("/v1/workers") or {"items": []}
        return any(worker["pid"] == self.children["worker"].pid for worker in workers["items"])

    async def _get(self, path: str) -> Any:
        """The JSON that the API answers, None while it answers anything but 200."""
        request = Request(self.url + path)  # noqa: S310  our own address
        if key := self.env.get("TASKPOST_API_KEY"):
            request.add_header("Authorization", f"Bearer {key}")

        def fetch() -> bytes | None:
            try:
                with build_opener(ProxyHandler({})).open(request, timeout=5) as answer:
                    body: bytes = answer.read()
                    return body
            except (URLError, OSError):  # HTTPError is a URLError
                return None

        body = await asyncio.to_thread(fetch)
        return None if body is None else orjson.loads(body)

    async def _greet(self) -> None:
        handlers = (await self._get("/v1/handlers") or {"items": []})["items"]
        signatures = [signature(one) for one in handlers if one["workers"]] or ["none"]
        redis = f"{without_password(self.redis_url)}{' (embedded)' if self.server else ''}"
        rows = [
            ("API", f"{self.url}/v1"),
            ("dashboard", f"{self.url}/ui"),
            ("contract", f"{self.url}/openapi.yaml"),
            *([("data", str(self.server.data))] if self.server else []),
            ("redis", redis),
            ("may call", described(Settings.from_env(self.env, dev=self.is_dev))),
            *zip(["handlers", *[""] * len(signatures)], signatures, strict=False),
        ]
        self.terminal.line(f"Taskpost {__version__} is ready.\n")
        self.terminal.rows(rows)
        self.terminal.line(f"\n  Try it:\n  {example(self.url, bool(self.env.get('TASKPOST_API_KEY')))}\n")
        self.terminal.line("Tasks appear here as they move. Ctrl-C stops everything.\n")

    # ------------------------------------------------------------ while it runs

    async def _keep_server(self, server: EmbeddedServer) -> None:
        """Start the embedded server again whenever it ends; its data is on disk."""
        while True:
            status = await server.wait()
            self._say("valkey", f"ended unexpectedly (status {status}); starts again")
            try:
                await server.start()
            except TaskpostError as exc:
                self._say("valkey", str(exc))
                await asyncio.sleep(5)

    async def _show_tasks(self) -> None:
        """A line a task that moves; while Redis is away there is nothing to show."""
        settings = Settings.from_env(self.env, redis_url=self.redis_url)
        while True:
            try:
                await watch(settings, self.terminal)
            except TaskpostError as exc:
                self._say("up", f"cannot follow the tasks for now: {exc}")
            await asyncio.sleep(1)


def example(url: str, has_key: bool) -> str:
    """A first task as a shell command, ready to be pasted."""
    key = """ -H "authorization: Bearer $TASKPOST_API_KEY\"""" if has_key else ""
    submission = shlex.quote('{"name": "demo.add", "args": {"a": 2, "b": 3}}')
    headers = "-H 'content-type: application/json' -H 'prefer: wait=10'"
    return f"curl -s {headers}{key} {url}/v1/tasks -d {submission}"


def is_on(text: str) -> bool:
    """TASKPOST_DEV as given."""
    return bool(read_value("TASKPOST_DEV", text, bool))


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach *host*."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
