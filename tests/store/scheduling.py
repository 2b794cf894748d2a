"""
The parts that tests of schedules play: somebody who saves them, a scheduler without a process, and a clock that moves
what is stored.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from service.planning import plan
from service.schedule import ACTIVE, PAUSED, Happened, Schedule, pack
from service.scheduler.firer import Firer
from service.sealing import NO_KEYS
from service.store import Store, keys
from service.store.schedules import NEW
from service.task import Snapshot

TASK = {"name": "demo.add", "args": {"a": 2, "b": 3}}
HOUR_MS = 3_600_000


def defined(store: Store, name: str = "s1", *, task: dict[str, Any] | None = None, **fields: Any) -> Schedule:
    """A schedule as the API makes it; every hour unless *fields* say otherwise."""
    now_ms = store.tasks.clock.now_ms()
    definition = {"task": dict(TASK) if task is None else task, "created_ms": now_ms, "updated_ms": now_ms}
    if not {"cron", "every_seconds", "calendar", "at"} & fields.keys():
        fields["every_seconds"] = 3600
    return Schedule("default", name, definition | fields)


async def save(
    store: Store, schedule: Schedule, before: Schedule | None = None, *, is_paused: bool = False
) -> Schedule:
    """Saved in the place of *before*; it must go."""
    due_ms = plan(schedule, before, schedule.timing("UTC"), store.tasks.clock.now_ms(), is_paused=is_paused)
    saved, found = await store.schedules.save(schedule, before.version if before else NEW, due_ms)
    assert saved
    assert found is not None
    return found


async def made(store: Store, name: str = "s1", **fields: Any) -> Schedule:
    return await save(store, defined(store, name, **fields))


async def read(store: Store, name: str = "s1") -> Schedule:
    found = await store.schedules.read(f"default/{name}")
    assert found is not None
    return found


async def move(store: Store, name: str = "s1", **header: Any) -> Schedule:
    """Change what firing changes, as if time had passed: `next_ms=`, `pending_ms=` and so on; it is due then."""
    schedule = replace(await read(store, name), **header)
    shard = store.schedules.shard_of(schedule.member)
    await store.tasks.scripts.command("SET", keys.schedule(shard, schedule.member), pack(schedule, NO_KEYS))
    if schedule.state == ACTIVE and "next_ms" in header:
        pair = (schedule.next_ms, schedule.member)
        await store.tasks.scripts.command("ZADD", keys.due_schedules(shard), *pair)
    return schedule


async def hours_late(store: Store, hours: float, name: str = "s1") -> Schedule:
    """Move the next occurrence of an hourly schedule so that it was *hours* ago; the anchor moves along."""
    now_ms = store.tasks.clock.now_ms()
    schedule = await read(store, name)
    definition = {**schedule.definition, "created_ms": now_ms - int(hours * HOUR_MS)}
    return await move(store, name, next_ms=definition["created_ms"], definition=definition)


async def fire(store: Store) -> None:
    """Let a scheduler do all that is due, once."""
    firer = Firer(store, store.settings)
    for shard in range(store.shards):
        await firer.fire_all(shard)


async def look_now(store: Store, *names: str) -> None:
    """What waits to be looked at again is due at once."""
    for name in names:
        shard = store.schedules.shard_of(f"default/{name.partition('#')[0]}")
        await store.tasks.scripts.command("ZADD", keys.due_schedules(shard), "XX", 1, f"default/{name}")


async def rows(store: Store, name: str = "s1") -> list[Happened]:
    """Its history, the oldest first."""
    return (await store.schedules.history(f"default/{name}"))[::-1]


async def kinds(store: Store, name: str = "s1") -> list[str]:
    return [row.kind for row in await rows(store, name)]


async def tasks(store: Store, name: str = "s1") -> list[Snapshot]:
    """The tasks of its history that are still kept, the oldest first."""
    ids = [row.task_id for row in await rows(store, name) if row.task_id and row.kind in MADE]
    found = await store.tasks.read(ids) if ids else []
    return [one for one in found if one is not None]


MADE = ("fired", "run_by_hand", "backfilled")
__all__ = ["ACTIVE", "HOUR_MS", "PAUSED", "defined", "fire", "hours_late", "kinds", "look_now", "made", "move", "read",
           "rows", "save", "tasks"]  # fmt: skip
