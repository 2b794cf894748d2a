"""Where Redis is, as the store has found it: the egress guard keeps URL tasks away from there."""

from __future__ import annotations

import asyncio

import pytest

from service.settings import Settings
from service.store import Store
from service.store.connection import connect, servers_of
from tests.servers import HOST
from tests.store.deployments import Deployment


async def test_every_server_of_the_deployment_is_known(store: Store, deployment: Deployment) -> None:
    """Of a cluster also those that the settings do not name."""
    assert {(HOST, node.port) for node in deployment.nodes} <= store.servers()


@pytest.mark.parametrize("url", ["unix:///run/redis.sock", "redis+sentinel://127.0.0.1:26379"])
async def test_a_server_that_is_not_known_yet_is_not_made_up(url: str) -> None:
    """A socket file has no address; the master is known once Sentinel was asked."""
    client = connect(Settings(redis_url=url))
    assert set() == servers_of(client)
    await client.aclose()


@pytest.mark.deployments("valkey-1")
async def test_a_process_keeps_to_its_connections(deployment: Deployment) -> None:
    """However much is asked for at once; what is over waits its turn."""
    store = await deployment.open(redis_connections=3)
    await asyncio.gather(*(store.scripts.command("EXISTS", f"tp:{{0}}:{n}") for n in range(200)))
    connected = deployment.clients[0].info("clients")["connected_clients"]
    await store.close()
    assert connected <= 3 + len(deployment.clients) + 1  # beside them: this test's own
