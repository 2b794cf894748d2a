"""
Servers for tests: the shared ones of a test process, emptied before each test, and own ones a test may break.

The everyday tier runs on the packaged Valkey. What can differ between servers runs once more on the system's Redis
in the full tier: the tests of the store, and those of files marked `both_servers` that take a shared server.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests import servers
from tests.servers import Cluster, Server

KINDS = ["valkey", pytest.param("redis", marks=pytest.mark.full)]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Take away what would only repeat on the other server what the store's tests say of it."""
    repeated = [one for one in items if is_on_redis(one) and not one.get_closest_marker("both_servers")]
    if repeated:
        config.hook.pytest_deselected(items=repeated)
        items[:] = [one for one in items if one not in set(repeated)]


def is_on_redis(test: pytest.Item) -> bool:
    spec = getattr(test, "callspec", None)
    return spec is not None and spec.params.get("shared_server") == "redis"


@pytest.fixture(scope="session", params=KINDS)
def shared_server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """One server a test process and kind; take `redis_server` or `redis_url` instead, which empty it."""
    with servers.single(request.param) as server:
        yield server


@pytest.fixture
def redis_server(shared_server: Server) -> Server:
    """The shared server, empty, no script cached. To kill or reconfigure one, take `start_server`."""
    shared_server.admin.flushall()
    shared_server.admin.script_flush()
    return shared_server


@pytest.fixture
def redis_url(redis_server: Server) -> str:
    return redis_server.url


@pytest.fixture(scope="session", params=KINDS)
def shared_cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """One cluster of three masters a test process and kind; take `redis_cluster` or `cluster_url` instead."""
    with servers.cluster(request.param) as formed:
        yield formed


@pytest.fixture
def redis_cluster(shared_cluster: Cluster) -> Cluster:
    """The shared cluster, empty. A test that migrates a slot of it finishes the migration."""
    shared_cluster.flush()
    return shared_cluster


@pytest.fixture
def cluster_url(redis_cluster: Cluster) -> str:
    return redis_cluster.url


@pytest.fixture
def start_server() -> Iterator[Callable[..., Server]]:
    """Starts servers of the test's own, to kill and pause: `start_server("valkey", maxmemory="3mb")`."""
    with ExitStack() as stack:
        yield lambda kind="valkey", **config: stack.enter_context(servers.single(kind, **config))
