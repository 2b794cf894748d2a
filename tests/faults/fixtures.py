"""Servers, a store and real processes; after each test everything in Redis must agree (`tests/store/invariants.py`)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from service.store import Store
from tests.faults.acting import ROOT, Part
from tests.servers import Server
from tests.store import invariants
from tests.store.deployments import Deployment


@pytest.fixture
def deployment(request: pytest.FixtureRequest, redis_server: Server) -> Iterator[Deployment]:
    """The shared server, empty, with as many shards as the test asks for by parametrizing it."""
    made = Deployment(redis_server.url, [redis_server], getattr(request, "param", 1))
    yield made
    allowed = request.node.get_closest_marker("allows")
    faults = invariants.faults_of(made, allowed.args if allowed else ())
    made.close()
    assert [] == faults, "\n".join(faults[:20])


@pytest.fixture
async def store(deployment: Deployment) -> AsyncIterator[Store]:
    opened = await deployment.open(lease_ms=2000, heartbeat_ms=500)
    yield opened
    await opened.close()


@pytest.fixture
def start(deployment: Deployment, tmp_path: Path) -> Iterator[Callable[..., Part]]:
    """Starts a worker or a scheduler with settings by name: `start("worker", processes="2")`."""
    parts: list[Part] = []

    def begin(kind: str = "worker", *, url: str = deployment.url, folder: Path = ROOT, **settings: str) -> Part:
        part = Part(kind, tmp_path / f"{kind}-{len(parts)}.log", url, settings, folder)
        parts.append(part)
        return part

    yield begin
    for part in parts:
        part.close()
    for part in parts:
        print(f"---- {part.log.name}\n{part.text}")
