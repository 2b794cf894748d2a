"""
The only place that knows Redis. `Store.open` connects; its parts are `tasks`, `attempts`, `queues`, `events`,
`workers`, `pages`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random

from redis.asyncio.cluster import RedisCluster

from service.errors import InvalidSetting, StoreUnavailable, TaskpostError
from service.settings import Settings
from service.store import keys
from service.store.admission import Admission
from service.store.alarms import Alarms
from service.store.api_keys import ApiKeys
from service.store.attempts import Attempts
from service.store.audit import Audit
from service.store.backfills import Backfills
from service.store.bulks import Bulks
from service.store.completions import Completions
from service.store.condition import Condition, condition_of
from service.store.connection import connect, servers_of
from service.store.declarations import Declarations
from service.store.endpoints import EndpointBook, EndpointSettings
from service.store.events import BLOCK_MS, Events
from service.store.fences import Fences
from service.store.gone import GoneUrls
from service.store.key_agreement import agree_on_keys
from service.store.limits import Limits
from service.store.memory import MemoryWatch
from service.store.meters import Meters
from service.store.overflow import Overflow
from service.store.pages import Pages
from service.store.queue_settings import QueueBook, QueueSettings
from service.store.queues import Queues
from service.store.schedules import Schedules
from service.store.scripts import Scripts
from service.store.secrets import Secrets
from service.store.sessions import Sessions
from service.store.slow import SlowAttempts
from service.store.statistics import Statistics
from service.store.tasks import Tasks
from service.store.traffic import Traffic
from service.store.wakes import BLOCK_SECONDS, WakeReader
from service.store.workers import HandlerBook, Workers
from service.task import FORMAT

log = logging.getLogger("taskpost.store")

CLUSTER_SHARDS = 16


class Store:
    """Everything Redis knows, by concept. Make one with `Store.open`, or `Store(settings)` and then `start`."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.client = connect(settings)
        self.scripts = Scripts(self.client, settings.redis_connections)
        self.memory = MemoryWatch(self.client, settings.max_memory_ratio, settings.max_memory_bytes)
        self.tasks = Tasks(self.scripts, settings, self.memory)
        self.attempts = Attempts(self.tasks)
        keyring = self.tasks.keyring
        self.workers = Workers(self.scripts)
        self.queue_settings = QueueSettings(self.scripts, keyring)
        self.queue_book = QueueBook(self.queue_settings)
        self.handlers = HandlerBook(self.workers, self.queue_book)
        self.completions = Completions(self.tasks, self.handlers, settings)
        self.admission = Admission(self.tasks, self.handlers, settings)
        self.fences = Fences(self.scripts)
        self.gone = GoneUrls(self.scripts, settings)
        self.queues = Queues(self.tasks)
        self.statistics = Statistics(self.tasks)
        self.slow = SlowAttempts(self.tasks)
        self.meters = Meters(self.tasks)
        self.alarms = Alarms(self.scripts, self.tasks.clock, keyring)
        self.endpoint_settings = EndpointSettings(self.scripts, keyring)
        self.endpoint_book = EndpointBook(self.endpoint_settings)
        self.limits = Limits(self.tasks)
        self.tasks.on_overflow = Overflow(self.tasks, self.handlers).drop
        self.schedules = Schedules(self.tasks)
        self.backfills = Backfills(self.schedules)
        self.declarations = Declarations(self.schedules)
        self.traffic = Traffic(self.scripts, self.tasks.clock)
        self.secrets = Secrets(self.scripts, self.tasks.clock, keyring)
        self.audit = Audit(self.scripts)
        self.api_keys = ApiKeys(self.scripts, self.tasks.clock, keyring)
        self.sessions = Sessions(self.scripts)
        self.events = Events(connect(settings, wait_seconds=BLOCK_MS / 1000), 1)
        self.wakes = WakeReader(connect(settings, wait_seconds=BLOCK_SECONDS), self.scripts)
        self.pages = Pages(self.tasks, self.queues)
        self.bulks = Bulks(self.tasks, self.handlers, self.pages)
        self.is_ready = False

    @property
    def shards(self) -> int:
        return self.tasks.shards

    def servers(self) -> set[tuple[str, int]]:
        """Where our Redis is, as far as it is known now: (host, port) of each server."""
        return servers_of(self.client)

    @classmethod
    async def open(
        cls, settings: Settings, patience_seconds: float = float("inf"), counts_as: str = "", *, warns: bool = True
    ) -> Store:
        """
        Connect, and agree with Redis on the number of shards. What the process counts of itself is told as *counts_as*;
        not at all when that is empty. *warns*: of what is wrong with Redis, which one process of several does for all.

        Raises:
            StoreUnavailable: Redis did not answer in *patience_seconds*.
            InvalidSetting: the deployment was made with another number of shards, or seals by another key.
        """
        store = cls(settings)
        try:
            await store.start(patience_seconds, warns=warns)
            if counts_as:
                store.meters.begin(counts_as)
        except BaseException:
            await store.close()
            raise
        return store

    async def start(self, patience_seconds: float = float("inf"), *, warns: bool = True) -> None:
        """See `open`."""
        loop = asyncio.get_running_loop()
        deadline, pause = loop.time() + patience_seconds, 0.05
        while True:
            try:
                await self.agree()
                break
            except StoreUnavailable as exc:
                if loop.time() + pause > deadline:
                    raise
                log.warning("Redis does not answer yet (%s); trying again", exc.__cause__)
                await asyncio.sleep(pause * (0.5 + random.random() / 2))
                pause = min(pause * 2, 2.0)
        self.is_ready = True
        with contextlib.suppress(StoreUnavailable):
            await self.handlers.refresh()
            await self.gone.refresh()
            await self.endpoint_book.renew()
            await self.queue_book.renew()
            if warns:
                await self.warn_about_persistence()

    async def agree(self) -> None:
        """Record the deployment's shards at the first start; adopt or refuse what is recorded at later ones."""
        first = self.settings.shards or (CLUSTER_SHARDS if isinstance(self.client, RedisCluster) else 1)
        recorded = await self.recorded(0, "shards", first)
        if self.settings.shards not in (0, recorded):
            raise InvalidSetting(
                f"TASKPOST_SHARDS={self.settings.shards}: this Redis holds a deployment of {recorded} shards; set "
                f"{recorded}, or leave the setting out. The number is changed offline only."
            )
        for shard in range(recorded):
            if (found := await self.recorded(shard, "format", FORMAT)) > FORMAT:
                raise InvalidSetting(
                    f"This Redis holds records of format {found}; this version reads {FORMAT}: upgrade it"
                )
        seconds, micros = await self.scripts.command("TIME") if not self.is_cluster else (0, 0)
        if seconds:
            self.tasks.clock.hear(int(seconds) * 1000 + int(micros) // 1000)
        self.tasks.shards = self.events.shards = recorded
        await agree_on_keys(self.scripts, self.tasks.keyring)

    async def server_version(self) -> str:
        """
        What the server calls itself: `redis 7.0.15`, `valkey 9.0.1`; "unknown" when it does not say.

        Raises:
            StoreUnavailable: it did not answer.
        """
        try:
            return (await self.condition()).server
        except StoreUnavailable:
            raise
        except TaskpostError:
            return "unknown"

    async def condition(self) -> Condition:
        """How the servers are now. Raises StoreUnavailable."""
        return await condition_of(self.client)

    async def recorded(self, shard: int, name: str, first: int) -> int:
        """
        What `conf` holds under *name*, which is *first* for a new deployment.

        Written only when it is missing: a Redis that is full refuses writes, and a worker must start all the same,
        because only running work frees memory.
        """
        found = await self.scripts.command("HGET", keys.conf(shard), name)
        if found is None:
            await self.scripts.command("HSETNX", keys.conf(shard), name, first)
            found = await self.scripts.command("HGET", keys.conf(shard), name)
        return int(found)

    @property
    def is_cluster(self) -> bool:
        return isinstance(self.client, RedisCluster)

    async def ping(self) -> None:
        """Raises StoreUnavailable when a shard's server does not answer."""
        for shard in range(self.shards):
            await self.scripts.command("EXISTS", keys.conf(shard))

    async def warn_about_persistence(self) -> None:
        """Say loudly when Redis may lose tasks: no append-only file, an eviction policy, hardly any memory left."""
        with contextlib.suppress(TaskpostError):
            for warning in (await self.condition()).warnings:
                log.warning("%s", warning)

    async def close(self) -> None:
        with contextlib.suppress(TaskpostError):
            await self.meters.leave()
        self.gone.close()
        self.endpoint_book.close()
        self.queue_book.close()
        await self.events.close()
        await self.wakes.close()
        await self.client.aclose()
