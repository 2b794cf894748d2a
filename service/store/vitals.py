"""
How Redis and what is stored in it are, for the doctor: read once, changing nothing.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from redis.asyncio.cluster import RedisCluster

from service.checkup import Facts, ServerFacts
from service.errors import InvalidSetting, StoreUnavailable, TaskpostError
from service.settings import Settings
from service.store import Store, keys
from service.store.connection import FAILURES, refusal_of, translated
from service.store.key_agreement import noted_keys

PINGS = 9
CONFIG_NAMES = ("appendfsync", "maxmemory", "save", "stop-writes-on-bgsave-error")


async def examined(settings: Settings) -> Facts:
    """What there is to know of the Redis of *settings*; that it cannot be used is a fact, too."""
    facts = Facts(settings)
    try:
        store = Store(settings)
    except TaskpostError as exc:
        facts.fault = str(exc)
        return facts
    try:
        await look(store, facts)
    except StoreUnavailable as exc:
        facts.fault = refusal_of(exc.__cause__) or f"Redis does not answer: {exc.__cause__ or exc}"
    except TaskpostError as exc:
        facts.fault = str(exc)
    finally:
        await store.close()
    return facts


async def look(store: Store, facts: Facts) -> None:
    """Fill *facts*. Raises TaskpostError when Redis does not answer, or refuses."""
    command, times = store.scripts.command, []
    for _ in range(PINGS):
        began = time.perf_counter()
        await command("EXISTS", keys.conf(0))
        times.append((time.perf_counter() - began) * 1000)
    facts.round_trip_ms = sorted(times)[PINGS // 2]
    facts.servers = await servers_of(store)
    facts.cluster = await cluster_of(store)
    now_ms = await redis_now_ms(store)
    facts.skew_ms = now_ms - time.time() * 1000
    shards, format_, reaped = await command("HMGET", keys.conf(0), "shards", "format", "reaped")
    if shards is None:
        return
    facts.shards, facts.format = int(shards), int(format_ or 0)
    facts.reaped_seconds = (now_ms - int(reaped)) / 1000 if reaped else None
    store.tasks.shards = facts.shards
    keyring = store.tasks.keyring
    facts.keys = repr(keyring)[1:-1] if keyring.keys else ""
    try:
        await noted_keys(store.scripts, keyring)
    except InvalidSetting as exc:
        facts.key_fault = str(exc)
    facts.workers = await store.workers.live(int(now_ms))
    facts.schedulers = await store.meters.living("scheduler", now_ms)
    facts.queues = await store.queues.counts()


async def redis_now_ms(store: Store) -> float:
    """The time of the server that holds shard 0."""
    client = store.client
    target = {"target_nodes": client.get_node_from_key(keys.conf(0))} if isinstance(client, RedisCluster) else {}
    seconds, micros = await answered(client.execute_command("TIME", **target))
    return int(seconds) * 1000 + int(micros) / 1000


async def servers_of(store: Store) -> list[ServerFacts]:
    """Each server that holds tasks."""
    client = store.client
    if not isinstance(client, RedisCluster):
        return [ServerFacts("server", await answered(client.info()), await config_of(store))]
    infos = await answered(client.info(target_nodes=RedisCluster.PRIMARIES))
    if "redis_version" in infos:  # of one node the library answers its facts alone
        infos = {"": infos}
    return [
        ServerFacts(f"server {name}".strip(), info, await config_of(store, client.get_node(node_name=name)))
        for name, info in sorted(infos.items())
    ]


async def config_of(store: Store, node: Any = None) -> dict[str, str] | None:
    """The settings of a server that matter here; None where CONFIG is blocked."""
    target = {"target_nodes": node} if node is not None else {}
    try:
        reply = await store.client.execute_command("CONFIG GET", *CONFIG_NAMES, **target)
    except FAILURES:
        return None
    flat = [part for pair in reply.items() for part in pair] if isinstance(reply, dict) else reply
    words = [one.decode() if isinstance(one, bytes) else str(one) for one in flat]
    return dict(zip(words[::2], words[1::2], strict=True))


async def cluster_of(store: Store) -> Mapping[str, str] | None:
    """What CLUSTER INFO says; None of anything but a cluster."""
    if not isinstance(store.client, RedisCluster):
        return None
    told: Mapping[str, Any] = await answered(store.client.cluster_info(target_nodes=RedisCluster.RANDOM))
    return told if "cluster_state" in told else next(iter(told.values()))


async def answered(asking: Any) -> Any:
    """What the library answers; its errors as ours."""
    try:
        return await asking
    except FAILURES as exc:
        raise translated(exc) from exc
