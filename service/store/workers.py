"""
Who works: live workers, and the handlers they published.

A worker says what it is with every heartbeat and is forgotten when it falls silent; its handlers are remembered,
so that a submission can be checked, and wait, while no worker runs.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import orjson

from service.settings import Settings
from service.store import keys
from service.store.queue_settings import QueueBook
from service.store.scripts import Scripts
from service.store.wakes import COMMAND
from service.task import SHARED, options_of

SILENT_MS = 16_000
FRESH_SECONDS = 2.0
COMMAND_TTL_MS = 600_000  # a worker that was paused for so long does not do what it was told before


def handler_field(namespace: str, name: str) -> str:
    return name if namespace == SHARED else f"{namespace}/{name}"


class Workers:
    """Reads and writes what workers say of themselves (all of it in shard 0)."""

    def __init__(self, scripts: Scripts) -> None:
        self.scripts = scripts

    async def announce(self, worker: dict[str, Any], now_ms: int, detail: dict[str, Any] | None = None) -> None:
        """This worker lives; *worker* is the contract's `Worker` with ms for times, *detail* what else it tells."""
        if detail is not None:
            await self.scripts.command("SET", keys.doing(worker["id"]), orjson.dumps(detail), "PX", SILENT_MS)
        await self.scripts.command("SET", keys.worker(worker["id"]), orjson.dumps(worker), "PX", SILENT_MS)
        await self.scripts.command("ZADD", keys.WORKERS, now_ms, worker["id"])

    async def leave(self, worker_id: str) -> None:
        """This worker is gone."""
        for key in (keys.worker(worker_id), keys.doing(worker_id), keys.commands(worker_id)):
            await self.scripts.command("DEL", key)
        await self.scripts.command("ZREM", keys.WORKERS, worker_id)

    async def live(self, now_ms: int) -> list[dict[str, Any]]:
        """The live workers, oldest first."""
        await self.scripts.command("ZREMRANGEBYSCORE", keys.WORKERS, "-inf", now_ms - 4 * SILENT_MS)
        ids = await self.scripts.command("ZRANGE", keys.WORKERS, 0, -1)
        if not ids:
            return []
        texts = await self.scripts.command("MGET", *[keys.worker(id_.decode()) for id_ in ids])
        return sorted((orjson.loads(text) for text in texts if text), key=lambda worker: worker["started_ms"])

    async def read(self, worker_id: str) -> dict[str, Any] | None:
        """All that a live worker says of itself; None when there is no such worker, or no longer."""
        told = await self.scripts.command("MGET", keys.worker(worker_id), keys.doing(worker_id))
        worker, doing = (orjson.loads(text) if text else None for text in told)
        return None if worker is None else worker | (doing or {})

    # ------------------------------------------------------------ commands

    async def command(self, worker_id: str, command: dict[str, Any]) -> bool:
        """
        Tell a worker to do *command*, which has an `id` of its own; whether there is such a worker.

        Raises:
            StoreUnavailable: no answer came; it may have been told.
        """
        args = (worker_id, orjson.dumps(command), COMMAND_TTL_MS, COMMAND)
        return bool(await self.scripts.call(0, "tell", *args))

    async def commands(self, worker_id: str) -> list[bytes]:
        """What a worker was told and has not obeyed yet, oldest first, as JSON."""
        texts: list[bytes] = await self.scripts.command("LRANGE", keys.commands(worker_id), 0, -1)
        return texts

    async def heeded(self, worker_id: str, texts: list[bytes]) -> None:
        """These commands have been obeyed."""
        for text in texts:
            await self.scripts.command("LREM", keys.commands(worker_id), 0, text)

    # ------------------------------------------------------------ handlers

    async def publish(self, namespace: str, handlers: list[dict[str, Any]], now_ms: int) -> None:
        """Remember *handlers*, as `Handler.published` gives them, for *namespace* or all (`SHARED`)."""
        if not handlers:
            return
        fields: list[Any] = []
        for handler in handlers:
            fields += [
                handler_field(namespace, handler["name"]),
                orjson.dumps({**handler, "namespace": namespace, "last_seen_ms": now_ms}),
            ]
        await self.scripts.command("HSET", keys.HANDLERS, *fields)

    async def published(self) -> dict[tuple[str, str], dict[str, Any]]:
        """All remembered handlers by (namespace, name)."""
        values = await self.scripts.command("HVALS", keys.HANDLERS)
        handlers = [orjson.loads(value) for value in values]
        return {(handler["namespace"], handler["name"]): handler for handler in handlers}


def all_for(handlers: dict[tuple[str, str], dict[str, Any]], namespace: str) -> dict[str, dict[str, Any]]:
    """Those of *handlers* that tasks of *namespace* may be for, by name: its own, and those for all behind them."""
    found = {name: one for (owner, name), one in handlers.items() if owner == SHARED}
    return found | {name: one for (owner, name), one in handlers.items() if owner == namespace}


class HandlerBook:
    """What this process knows of the published handlers; read again when it is older than two seconds."""

    def __init__(self, workers: Workers, queues: QueueBook) -> None:
        self.workers, self.queues = workers, queues
        self.handlers: dict[tuple[str, str], dict[str, Any]] = {}
        self.read_at = 0.0

    def known(self, namespace: str, name: str) -> dict[str, Any] | None:
        """The handler as last read: the namespace's own, else the one for all."""
        return self.handlers.get((namespace, name)) or self.handlers.get((SHARED, name))

    def options(self, submission: Mapping[str, Any], namespace: str, queue: str, settings: Settings) -> dict[str, Any]:
        """The options in force for a stored submission of *queue*, as far as its handler and its queue are known."""
        handler = self.known(namespace, submission.get("name", ""))
        return options_of(submission, handler, settings, self.queues.known(namespace, queue))

    @property
    def is_fresh(self) -> bool:
        return time.monotonic() - self.read_at < FRESH_SECONDS

    async def refresh(self) -> None:
        """
        Read all handlers again.

        Raises:
            StoreUnavailable: Redis did not answer; what was known stands.
        """
        self.handlers = await self.workers.published()
        self.read_at = time.monotonic()
