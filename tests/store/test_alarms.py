"""Alarms as they are kept: told once whatever number of schedulers looks, told again by another when one dies."""

from __future__ import annotations

import asyncio

import pytest

from service.alarm import Alarm
from service.store import Store
from service.store.alarms import CLAIM_MS, QUIET_MS

pytestmark = pytest.mark.deployments("valkey-1", "valkey-cluster", "redis-1")
LATE = Alarm("queue.delayed", "default", {"queue": "default", "oldest_seconds": 400})


def ahead(store: Store, ms: int) -> None:
    """Time goes by."""
    store.tasks.clock.offset_ms += ms


async def test_an_alarm_is_told_once_and_so_is_its_end(store: Store) -> None:
    """Eight looks at once: one tells. While it rings nobody does again. A minute after it was last seen, its end."""
    heard = await asyncio.gather(*(store.alarms.hear([LATE]) for _ in range(8)))
    [notice] = [one for notices in heard for one in notices]
    assert ("queue.delayed", False, LATE.told) == (notice.type, notice.is_end, notice.told)
    await store.alarms.told(notice)
    ahead(store, CLAIM_MS + 1)
    assert [] == await store.alarms.hear([LATE])
    assert [] == await store.alarms.hear([]), "it may be seen again in a moment"
    ahead(store, QUIET_MS + 1)
    heard = await asyncio.gather(*(store.alarms.hear([]) for _ in range(8)))
    [end] = [one for notices in heard for one in notices]
    assert (True, notice.since_ms, LATE.told) == (end.is_end, end.since_ms, end.told)
    await store.alarms.told(end)
    assert {} == await store.alarms.ringing()
    [again] = await store.alarms.hear([LATE])
    assert again.since_ms > notice.since_ms


async def test_what_was_claimed_and_not_told_is_told_by_another(store: Store) -> None:
    """The one that was to tell was killed, or got no answer."""
    [lost] = await store.alarms.hear([LATE])
    assert [] == await store.alarms.hear([LATE])
    ahead(store, CLAIM_MS + 1)
    [found] = await store.alarms.hear([LATE])
    assert lost == found


async def test_what_nobody_heard_of_ends_in_silence(store: Store) -> None:
    """An alarm that could not be told has no end to tell either."""
    await store.alarms.hear([LATE])
    ahead(store, QUIET_MS + CLAIM_MS + 1)
    assert [] == await store.alarms.hear([])
    assert {} == await store.alarms.ringing()
