"""
What tests of the API share: an empty store that knows the demo handlers, an API on it, and somebody who works.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from service.settings import Settings
from service.store import Store
from tests.api.serving import Serving, publish, serving
from tests.store.acting import Worker


@pytest.fixture
async def store(redis_url: str) -> AsyncIterator[Store]:
    """The store that the API uses, seen from beside it."""
    opened = await Store.open(Settings(redis_url=redis_url))
    await publish(opened)
    yield opened
    await opened.close()


@pytest.fixture
async def api(store: Store, redis_url: str) -> AsyncIterator[Serving]:
    async with serving(redis_url) as running:
        yield running


@pytest.fixture
def worker(store: Store) -> Worker:
    """Leases and ends tasks, as a worker does."""
    return Worker(store)
