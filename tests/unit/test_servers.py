"""The servers that the tests themselves rest on."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import redis
from redis.cluster import RedisCluster

from tests import servers
from tests.servers import Cluster, Server, until


def test_a_test_meets_an_empty_server(redis_server: Server) -> None:
    """What the test before left is gone."""
    assert redis_server.admin.dbsize() == 0
    redis_server.admin.set("left", "behind")


def test_another_test_meets_an_empty_server_too(redis_server: Server) -> None:
    """The flush runs before each test, not once."""
    assert redis_server.admin.dbsize() == 0
    redis_server.admin.set("left", "behind")


def test_a_killed_server_returns_with_its_address_and_its_data(start_server: Callable[..., Server]) -> None:
    """With an append-only file, what was acknowledged and synced survives a crash."""
    server = start_server(appendonly="yes", appendfsync="always")
    url = server.url
    server.admin.set("kept", "yes")
    server.kill()
    with pytest.raises(redis.ConnectionError):
        server.admin.ping()
    server.restart()
    assert (url, "yes") == (server.url, server.admin.get("kept"))


def test_a_paused_server_is_silent_until_it_is_resumed(start_server: Callable[..., Server]) -> None:
    """Connections stay open; an answer comes late instead of never."""
    server = start_server()
    hurried = redis.Redis.from_url(server.url, socket_timeout=0.2, retry=None)
    server.pause()
    with pytest.raises(redis.TimeoutError):
        hurried.ping()
    server.resume()
    assert until(server.admin.ping, "the resumed server answers")


def test_a_server_takes_settings(start_server: Callable[..., Server]) -> None:
    """A test of full memory gets a small server."""
    assert start_server(maxmemory="3mb").admin.config_get("maxmemory") == {"maxmemory": str(3 * 1024 * 1024)}


@pytest.mark.cluster
def test_a_slot_can_be_watched_half_way_through_its_migration(redis_cluster: Cluster) -> None:
    """Between the steps a client meets ASK; before, between and after, it reads every key."""
    client = RedisCluster.from_url(redis_cluster.nodes[0].url, decode_responses=True)
    keys = [f"{{moving}}:{number}" for number in range(10)]
    for key in keys:
        client.set(key, key)
    move = redis_cluster.migration(redis_cluster.slot("{moving}"))
    move.begin()
    assert move.move(4) == 4
    assert keys == [client.get(key) for key in keys]
    gone = move.target.admin.execute_command("CLUSTER GETKEYSINSLOT", move.slot, 1)[0]
    with pytest.raises(redis.exceptions.AskError):
        move.source.admin.get(gone)
    move.finish()
    assert redis_cluster.owner(move.slot) is move.target
    assert keys == [client.get(key) for key in keys]
    client.close()


@pytest.mark.parametrize("kind", ["valkey", pytest.param("redis", marks=pytest.mark.full)])
def test_sentinels_name_the_new_master_after_a_failover(kind: str) -> None:
    """What the old master had acknowledged is on the new one."""
    with servers.sentinel(kind, watchers=1) as setting:
        old = setting.master
        old.admin.set("kept", "yes")
        old.admin.execute_command("WAIT", 1, 10_000)
        setting.fail_over()
        assert setting.master is not old
        assert setting.master.admin.get("kept") == "yes"
