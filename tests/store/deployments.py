"""
What the store's tests run on: one server with 1 or 16 shards, or a cluster with 16; and a look at all of its keys.

Servers are started once a test process and kind, and emptied before each test.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import redis

from service.settings import Settings
from service.store import Store
from tests import servers
from tests.servers import HOST, Cluster, Server


class Servers:
    """The shared servers of a test process, started when first asked for."""

    def __init__(self) -> None:
        self.stack = ExitStack()
        self.singles: dict[str, Server] = {}
        self.clusters: dict[str, Cluster] = {}

    def single(self, kind: str) -> Server:
        if kind not in self.singles:
            self.singles[kind] = self.stack.enter_context(servers.single(kind))
        return self.singles[kind]

    def cluster(self, kind: str) -> Cluster:
        if kind not in self.clusters:
            self.clusters[kind] = self.stack.enter_context(servers.cluster(kind))
        return self.clusters[kind]


class Deployment:
    """Nodes, how to connect to them, and how many shards they hold."""

    def __init__(self, url: str, nodes: list[Server], shards: int, cluster: Cluster | None = None) -> None:
        self.url, self.nodes, self.shards, self.cluster = url, nodes, shards, cluster
        self.clients = [redis.Redis(HOST, node.port) for node in nodes]

    def empty(self) -> None:
        for client in self.clients:
            client.flushall()
            client.script_flush()

    def settings(self, **given: object) -> Settings:
        return Settings(redis_url=self.url, shards=self.shards, **given)  # type: ignore[arg-type]

    async def open(self, **given: object) -> Store:
        return await Store.open(self.settings(**given), 30)

    def node(self, shard: int) -> redis.Redis:
        """The client of the node that holds *shard*; for keys that are named by `service.store.keys`."""
        if self.cluster is None:
            return self.clients[0]
        owner = self.cluster.owner(self.cluster.slot(f"tp:{{{shard}}}:conf"))
        return next(client for node, client in zip(self.nodes, self.clients, strict=True) if node is owner)

    def all_keys(self) -> set[bytes]:
        return {key for client in self.clients for key in client.scan_iter(count=1000)}

    def values(self) -> Iterator[tuple[bytes, bytes]]:
        """Every key with its value as DUMP writes it."""
        for client in self.clients:
            for key in client.scan_iter(count=1000):
                yield key, client.dump(key) or b""

    def close(self) -> None:
        for client in self.clients:
            client.close()


def of_name(pool: Servers, name: str) -> Deployment:
    """The deployment called `<kind>-<shards>` or `<kind>-cluster`."""
    kind, _, form = name.partition("-")
    if form == "cluster":
        cluster = pool.cluster(kind)
        return Deployment(cluster.url, cluster.nodes, 16, cluster)
    server = pool.single(kind)
    return Deployment(server.url, [server], int(form))
