"""
Every test of the store runs on one server with 1 shard, with 16, and, in the full tier, on a cluster and on the oldest
Redis (on a cluster of that only where a test names it); and leaves a keyspace in which everything agrees
(`invariants.py`), unless a test says what it breaks.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from service.store import Store
from tests.store import deployments, invariants
from tests.store.acting import Worker
from tests.store.deployments import Deployment, Servers

PATIENCE_SECONDS = 30.0  # a machine that stands still for two seconds is none of the store's faults
CLUSTER, FULL = pytest.mark.cluster, pytest.mark.full
NAMES = [
    "valkey-1",
    "valkey-16",
    pytest.param("valkey-cluster", marks=[CLUSTER, FULL]),
    pytest.param("redis-1", marks=FULL),
    pytest.param("redis-cluster", marks=[CLUSTER, FULL]),
]

COMMON = ("valkey-1", "valkey-16", "valkey-cluster", "redis-1")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "deployments(*names): those on which the test says something")
    config.addinivalue_line("markers", "allows(*what): what the test breaks on purpose, see invariants.py")


@pytest.fixture(scope="session")
def pool() -> Iterator[Servers]:
    servers = Servers()
    with servers.stack:
        yield servers


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Every test runs on every deployment, unless it names those on which it says something."""
    if "deployment" in metafunc.fixturenames:
        marker = metafunc.definition.get_closest_marker("deployments")
        wanted = marker.args if marker else COMMON
        names = [name for name in NAMES if (name if isinstance(name, str) else name.values[0]) in wanted]
        metafunc.parametrize("deployment", names, indirect=True)


@pytest.fixture
def deployment(request: pytest.FixtureRequest, pool: Servers) -> Iterator[Deployment]:
    """Empty servers; afterwards whatever is in them must agree."""
    made = deployments.of_name(pool, request.param)
    made.empty()
    yield made
    allowed = request.node.get_closest_marker("allows")
    faults = invariants.faults_of(made, allowed.args if allowed else ())
    made.close()
    assert [] == faults


@pytest.fixture
async def store(deployment: Deployment) -> AsyncIterator[Store]:
    opened = await deployment.open()
    opened.scripts.patience_seconds = PATIENCE_SECONDS
    yield opened
    await opened.close()


@pytest.fixture
def worker(store: Store) -> Worker:
    return Worker(store)
